"""Pictures of a game as a video file: the screen enlarged, its score and frame number in a strip below.

The same pictures give the same bytes, for one version of the encoder: it works on one thread and writes no date.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from baselines.emulator.every_frame import SCREEN_SHAPE
from suite.errors import UserError
from suite.game_screens import Screen

INSTALL = "install it with: pip install -c constraints.txt -e .[video]"
MAX_WEBP_RATE = 30  # pictures a second
MAX_WEBP_SECONDS = 90  # Pillow wants all pictures at once: 400 MB
STRIP_HEIGHT = 26  # of 160 x 210 pixels before they are enlarged: two lines of a font 11 high
_LINES = 2, 13
_LETTER_WIDTH = 6
_INK, _PAPER = (232, 230, 224), (16, 17, 20)

Write = Callable[[np.ndarray], None]  # takes the next picture [height, width, 3] uint8


class NoEncoder(UserError):
    """A package that encoding needs is not installed."""


# The codec of each kind of file, and its settings. Quality 18 is visually the original; the strip stays sharp.
_CODECS = {
    ".mp4": ("libx264", {"preset": "medium", "crf": "18", "movflags": "+faststart"}),
    ".webm": ("libvpx-vp9", {"deadline": "good", "cpu-used": "4", "crf": "24", "b": "0", "lag-in-frames": "25"}),
}
SUFFIXES = (*_CODECS, ".webp")


def can_encode(suffix: str) -> bool:
    """Whether files of that kind can be written here."""
    try:
        require_encoder(suffix)
    except NoEncoder:
        return False
    return True


def require_encoder(suffix: str) -> None:
    """Raises NoEncoder if a package is missing for files of that kind."""
    if find_spec("PIL") is None:  # it has the strip's letters
        raise NoEncoder(f"a video needs the package Pillow, which is not installed; {INSTALL}") from None
    if suffix == ".webp":
        from PIL import features

        if not features.check("webp"):
            raise NoEncoder("this Pillow was built without WebP; install the one of PyPI, or PyAV for .mp4 and .webm")
        return
    try:
        import av
    except ImportError:
        raise NoEncoder(
            f"{suffix} needs the package av (PyAV), which is not installed; {INSTALL}; or give .webp"
        ) from None
    if _CODECS[suffix][0] not in av.codecs_available:
        raise NoEncoder(f"this PyAV was built without {_CODECS[suffix][0]}, which {suffix} needs; give another ending")


@lru_cache(maxsize=4)
def _strip(first: str, second: str, right: str) -> np.ndarray:
    """[STRIP_HEIGHT, 160, 3] uint8: a line of text, and another with something at its right end."""
    from PIL import Image, ImageDraw, ImageFont

    width = SCREEN_SHAPE[1]
    image = Image.new("RGB", (width, STRIP_HEIGHT), _PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default_imagefont()
    draw.text((2, _LINES[0]), first, fill=_INK, font=font)
    draw.text((2, _LINES[1]), second, fill=_INK, font=font)
    draw.text((width - 2 - _LETTER_WIDTH * len(right), _LINES[1]), right, fill=_INK, font=font)
    return np.asarray(image)


def picture(screen: Screen, title: str, *, scale: int) -> np.ndarray:
    """[236 * scale, 160 * scale, 3] uint8: a screen enlarged by whole pixels, `title`, score and frame below it."""
    strip = _strip(_plain(title), f"score {screen.score:.0f}", f"frame {screen.frames}")
    return np.concatenate((screen.pixels, strip)).repeat(scale, axis=0).repeat(scale, axis=1)


def _plain(text: str) -> str:
    """What the bitmap font has, as much as fits."""
    letters = text.encode("ascii", "replace").decode("ascii")
    most = (SCREEN_SHAPE[1] - 4) // _LETTER_WIDTH
    return letters if len(letters) <= most else letters[: most - 2] + ".."


@contextmanager
def video_file(path: Path, *, pictures_per_second: int, settings: dict[str, str] | None = None) -> Iterator[Write]:
    """Writes a video of the kind that the name's ending says, whole or not at all.

    Args:
        settings: of the codec, instead of the usual ones.
    Raises:
        NoEncoder: a package is missing. OSError: it cannot be written.
    """
    require_encoder(path.suffix)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    writer = _webp if path.suffix == ".webp" else _encoded
    try:
        with writer(part, pictures_per_second, settings or {}) as write:
            yield write
        os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


@contextmanager
def _encoded(path: Path, pictures_per_second: int, settings: dict[str, str]) -> Iterator[Write]:
    import av

    codec, usual = _CODECS[path.suffix]
    options = usual | settings
    container_options = {"fflags": "+bitexact"}  # else WebM gets a random identity
    if "movflags" in options:
        container_options["movflags"] = options.pop("movflags")
    with av.open(str(path), "w", options=container_options) as container:
        stream: Any = None

        def write(pixels: np.ndarray) -> None:
            nonlocal stream
            if stream is None:
                stream = container.add_stream(codec, rate=pictures_per_second, options=options)
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.thread_count = 1
                stream.codec_context.time_base = Fraction(1, pictures_per_second)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))

        yield write
        if stream is not None:
            container.mux(stream.encode(None))


def kept_in(path: Path, pictures: int, pictures_per_second: int) -> tuple[int, int]:
    """Pictures, and pictures a second, that a file of this kind has of those that are written."""
    at_once = _pictures_at_once(path.suffix, pictures_per_second)
    return -(-pictures // at_once), pictures_per_second // at_once


def _pictures_at_once(suffix: str, pictures_per_second: int) -> int:
    return 2 if suffix == ".webp" and pictures_per_second > MAX_WEBP_RATE else 1


@contextmanager
def _webp(path: Path, pictures_per_second: int, settings: dict[str, str]) -> Iterator[Write]:
    """An animated WebP of at most 30 pictures a second: of two the brighter parts, since sprites flicker."""
    from PIL import Image

    at_once = _pictures_at_once(".webp", pictures_per_second)
    images: list[Image.Image] = []
    waiting: list[np.ndarray] = []

    def write(pixels: np.ndarray) -> None:
        waiting.append(pixels)
        if len(waiting) == at_once:
            images.append(Image.fromarray(np.maximum(waiting[0], waiting[-1])).quantize(256))
            waiting.clear()

    yield write
    if waiting:
        images.append(Image.fromarray(waiting[0]).quantize(256))
    if images:
        milliseconds = round(1000 * at_once / pictures_per_second)
        images[0].save(path, "WEBP", save_all=True, append_images=images[1:], duration=milliseconds, loop=0, quality=80)


def png(pixels: np.ndarray) -> bytes:
    """A picture [height, width, 3] as PNG; a console shows at most 128 colours, so that a palette loses none."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).quantize(256).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
