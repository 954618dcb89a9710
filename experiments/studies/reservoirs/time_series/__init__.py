"""Time series by liquids: the tasks, the models, forecasts in closed loop, the study, its figure."""
