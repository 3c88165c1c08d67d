"""Videos of episodes. A run keeps each in its folder `videos` in three formats, each file complete or absent:

.mp4      every frame, in real time, H.264 for any browser
.gif      at most 200 frames, shown by TensorBoard
.png      twelve frames on one sheet
"""

import os
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from plasticity_rl.records.folder import RunFolder

RATE = 15  # frames per second: an Atari step is 4 frames of a console at 60 Hz, and Procgen's videos have the same rate
SCALE = 3  # .mp4 pixels per game pixel, in each direction
KEPT = 200  # maximum frames of a .gif
SHEET = (2, 6)  # rows and columns of a .png


class Film:
    """Writer of one episode's frames, each (height, width, 3) uint8, to `folder/name` in the three formats.

    A context manager: after an error, or without any frame, no file remains. A longer episode runs faster as .gif: whenever it has too
    many frames, every other one is dropped.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._container: Any = None
        self._stream: Any = None
        self._kept: list[np.ndarray] = []
        self._every, self._count = 1, 0

    @property
    def paths(self) -> list[Path]:
        """Final files: .mp4, .gif, .png."""
        return [self._folder / f"{self._name}{ending}" for ending in (".mp4", ".gif", ".png")]

    def add(self, picture: np.ndarray) -> None:
        """Add the next frame."""
        import av

        assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8, (picture.shape, picture.dtype)
        if not self._count:
            self._open(*picture.shape[:2])
        large = np.ascontiguousarray(picture.repeat(SCALE, 0).repeat(SCALE, 1))
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
        if self._count % self._every == 0:
            self._kept.append(picture)
        self._count += 1
        if len(self._kept) > KEPT:
            self._kept, self._every = self._kept[::2], 2 * self._every

    def _open(self, height: int, width: int) -> None:
        import av

        self._folder.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(_beside(self.paths[0])), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=RATE, options={"crf": "18", "preset": "veryfast"})
        self._stream.height, self._stream.width, self._stream.pix_fmt = SCALE * height, SCALE * width, "yuv420p"

    def _finish(self) -> None:
        from PIL import Image

        film, brief, sheet = self.paths
        self._container.mux(self._stream.encode())
        self._container.close()
        first, *rest = [Image.fromarray(picture) for picture in self._kept]
        first.save(_beside(brief), "GIF", save_all=True, append_images=rest, duration=1000 // RATE, loop=0)
        rows, columns = SHEET
        chosen = [self._kept[place] for place in np.linspace(0, len(self._kept) - 1, rows * columns).astype(int)]
        tiled = np.concatenate([np.concatenate(chosen[row * columns : (row + 1) * columns], axis=1) for row in range(rows)])
        Image.fromarray(tiled).save(_beside(sheet), "PNG")
        for path in (film, brief, sheet):
            os.replace(_beside(path), path)

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._container is None:
            return
        try:
            if error is None:
                self._finish()
        finally:
            self._container.close()
            for path in self.paths:
                _beside(path).unlink(missing_ok=True)


def show_in_tensorboard(run: RunFolder, frame_skip: int) -> None:
    """Make `tb/videos`, which TensorBoard shows as a separate run, from all the run's .gif files. The tag is `video/<task>/member<m>`, with
    the episode's number appended from the second on; the step counts frames, as for every curve.

    The folder is always rebuilt, because TensorBoard discards the data of a tag if a lower step follows.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
    from torch.utils.tensorboard import SummaryWriter

    found: list[tuple[int, str, Path]] = []
    for path in run.videos.glob("*.gif"):
        if name := re.fullmatch(r"(.+)-(\d{12})-member(\d+)-episode(\d+)", path.stem):
            task, checkpoint, member, episode = name.groups()
            found.append((int(checkpoint), f"video/{task}/member{member}" + (f"/episode{episode}" if int(episode) else ""), path))
    view = run.tensorboard / run.videos.name
    shutil.rmtree(view, ignore_errors=True)
    with SummaryWriter(str(view)) as writer:
        assert writer.file_writer is not None
        for checkpoint, tag, path in sorted(found):
            image = Summary.Image(encoded_image_string=path.read_bytes(), colorspace=3)
            writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), checkpoint * frame_skip)


def _beside(path: Path) -> Path:
    return path.with_name(f".unfinished-{path.name}")
