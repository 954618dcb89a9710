"""Known deep networks as lines of text, to be built, printed and changed like any other.

    vgg(9)                      64C3p1-BN-64C3p1-BN-N-AP2-128C3p1-BN-…-FC1024-BN-FC10
    resnet((2, 2, 2, 2))        64C3p1-BN-64MS3-64MS3-128MS3s2-…-N-GAP-FC10

Source: Simonyan & Zisserman 2015, table 1, configurations A (11) and D (16); Kim & Panda 2021, Front. Neurosci. 15:773954, for the
spiking VGG-9 with batch norm through time; He et al. 2016 for the plan of ResNets; Hu et al. 2024, IEEE TNNLS, MS-ResNet;
Fang et al. 2021, NeurIPS, SEW-ResNet.
"""

from __future__ import annotations

from collections.abc import Sequence

from spiketwin.models.units import positive

# channels of the convolutions between poolings, and sizes of the fully connected layers before the last
VGG: dict[int, tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]] = {
    5: (((64,), (128, 128)), (1024,)),
    9: (((64, 64), (128, 128), (256, 256, 256)), (1024,)),
    11: (((64,), (128,), (256, 256), (512, 512), (512, 512)), (4096, 4096)),
    16: (((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)), (4096, 4096)),
}


def vgg(depth: int, *, classes: int = 10, width: float = 1.0, pool: str = "AP2") -> str:
    """A VGG with batch norm through time behind each weight layer but the last; neurons before each pooling.

    depth: 5, 9, 11 or 16 weight layers; each pooling halves the image, which must be large enough.  width: factor on all layer sizes.
    Raises ValueError for another depth, and for a width that is not positive and finite.
    """
    if depth not in VGG:
        raise ValueError(f"there is no VGG of depth {depth}; choose {', '.join(map(str, VGG))}")
    positive(width=width)
    groups, hidden = VGG[depth]
    layers: list[str] = []
    for group in groups:
        layers += [part for channels in group for part in (f"{_scaled(channels, width)}C3p1", "BN")] + ["N", pool]
    layers += [part for size in hidden for part in (f"FC{_scaled(size, width)}", "BN")]
    return "-".join([*layers, f"FC{classes}"])


def resnet(
    blocks: Sequence[int] = (2, 2, 2, 2), channels: Sequence[int] = (64, 128, 256, 512), *, shortcut: str = "MS", classes: int = 10
) -> str:
    """A ResNet for small images: a 3 × 3 convolution, then groups of residual blocks, of which each but the first halves the image.

    blocks, channels: of each group; (2, 2, 2, 2) makes 18 weight layers, (3, 4, 6, 3) makes 34, and (3, 3, 3) with (16, 32, 64) makes 20.
    shortcut: 'MS' or 'SEW'.
    Raises ValueError for another shortcut, or lists of different length, and groups without a block or a channel.
    """
    if shortcut not in ("MS", "SEW"):
        raise ValueError(f"shortcut = '{shortcut}' is unknown; choose 'MS' (adds currents) or 'SEW' (adds spikes)")
    if len(blocks) != len(channels) or not blocks:
        raise ValueError(f"blocks {tuple(blocks)} and channels {tuple(channels)} must have one entry for each group")
    if min(*blocks, *channels) < 1:
        raise ValueError(
            f"blocks {tuple(blocks)} and channels {tuple(channels)} must be at least 1 in each group; leave out a group without blocks"
        )
    layers = [f"{channels[0]}C3p1", "BN"]
    for group, (count, width) in enumerate(zip(blocks, channels)):
        layers += [f"{width}{shortcut}3" + "s2" * (group > 0 and block == 0) for block in range(count)]
    # the last block of an MS-ResNet gives currents
    return "-".join([*layers, *(["N"] if shortcut == "MS" else []), "GAP", f"FC{classes}"])


def _scaled(size: int, width: float) -> int:
    return max(1, round(size * width))
