"""Episodes as people watch them. A run keeps each in its folder `videos`, under one name with three endings, each file whole or absent:

.mp4      every picture, in real time, H.264 for any browser
.gif      at most 200 pictures; what TensorBoard shows
.png      twelve pictures on one sheet
"""

import os
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from plasticity_rl.records.folder import RunFolder

RATE = 15  # pictures in a second: an Atari step is 4 frames of a console that draws 60, and Procgen's videos have as many
SCALE = 3  # pixels of the .mp4 for one of the game's, either way
KEPT = 200  # pictures of a .gif
SHEET = (2, 6)  # rows and columns of a .png


class Film:
    """Takes one episode's pictures, each (height, width, 3) uint8, and leaves `folder/name` with its three endings.

    A context: where it is left by an error, or no picture came, nothing is left. A longer episode runs faster as .gif: whenever there are
    too many pictures for it, every other one is dropped.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._container: Any = None
        self._stream: Any = None
        self._kept: list[np.ndarray] = []
        self._every, self._count = 1, 0

    @property
    def paths(self) -> list[Path]:
        """What is left in the end: .mp4, .gif, .png."""
        return [self._folder / f"{self._name}{ending}" for ending in (".mp4", ".gif", ".png")]

    def add(self, picture: np.ndarray) -> None:
        """The next picture."""
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
    """Make `tb/videos`, which TensorBoard shows as a run of its own, of all the run's .gif files: the tag is `video/<task>/member<m>`, with
    the episode's number behind it from the second on, and the step counts frames as every other curve's does.

    It is made anew because TensorBoard forgets what it has of a tag when a lower step follows.
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
