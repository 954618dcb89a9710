"""What is raised when a data set is missing or damaged."""


class DataError(ValueError):
    """A data set cannot be read. The message names the file or folder, what was expected and what was found."""
