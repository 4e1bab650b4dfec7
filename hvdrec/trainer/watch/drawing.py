"""Curves over the unit square as small pictures, for TensorBoard."""

from __future__ import annotations

import numpy as np

from hvdrec.trainer.watch.font import HEIGHT, written

_SIZE = 320
#: Margins of the square: the title above, numbers and a label on the left and below, and the right side.
_TOP, _LEFT, _BELOW, _RIGHT = 20, 44, 36, 14
_GREY, _DARK, _BLUE, _PALE = (225, 225, 225), (90, 90, 90), (33, 102, 172), (198, 219, 239)


class UnitSquare:
    """A picture of [0, 1] x [0, 1] with a grid at tenths, the diagonal, and labels.

    Attributes:
        pixels: uint8 [height, width, 3].
    """

    def __init__(self, title: str, across: str, up: str) -> None:
        """Draws grid, frame and axes.

        Args:
            title: The title above.
            across: The label of the horizontal axis.
            up: The label of the vertical axis.
        """
        self.pixels = np.full((_TOP + _SIZE + _BELOW, _LEFT + _SIZE + _RIGHT, 3), 255, np.uint8)
        middle = _LEFT + _SIZE // 2
        self._write(title, _TOP // 2, middle)
        self._write(across, _TOP + _SIZE + _BELOW - HEIGHT - 2, middle)
        self._write(up, _TOP + _SIZE // 2, HEIGHT + 2, upwards=True)
        for fifth in np.linspace(0, 1, 6):
            (column,), (row,) = self._places(np.asarray([fifth]), np.asarray([fifth]))
            self._write(f"{fifth:.1f}", _TOP + _SIZE + HEIGHT + 2, column)
            self._write(f"{fifth:.1f}", row, _LEFT - 14)
        for tenth in np.linspace(0, 1, 11):
            colour = _DARK if tenth in (0.0, 1.0) else _GREY
            self._polyline(np.asarray([0, 1]), np.asarray([tenth, tenth]), colour, 0)
            self._polyline(np.asarray([tenth, tenth]), np.asarray([0, 1]), colour, 0)
        self._polyline(np.asarray([0, 1]), np.asarray([0, 1]), _DARK, 0)

    def _write(self, text: str, row: int, column: int, upwards: bool = False) -> None:
        """Writes a text centred at a point."""
        letters = np.rot90(written(text)) if upwards else written(text)
        top, left = row - letters.shape[0] // 2, column - letters.shape[1] // 2
        self.pixels[top : top + letters.shape[0], left : left + letters.shape[1]][letters] = _DARK

    def curve(self, x: np.ndarray, y: np.ndarray) -> None:
        """Draws lines between the points."""
        self._polyline(x, y, _BLUE, 1)

    def points(self, x: np.ndarray, y: np.ndarray) -> None:
        """Draws a mark at each point."""
        for column, row in zip(*self._places(x, y), strict=True):
            self.pixels[row - 3 : row + 4, column - 3 : column + 4] = _BLUE

    def bars(self, x: np.ndarray, height: np.ndarray) -> None:
        """Draws bars from the bottom at each x; heights are relative to the largest."""
        columns, tops = self._places(x, height / max(1e-300, float(np.max(height, initial=0.0))))
        for column, top in zip(columns, tops, strict=True):
            self.pixels[top : _TOP + _SIZE, column - 2 : column + 3] = _PALE

    def _places(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = _LEFT + np.rint(np.clip(x, 0, 1) * (_SIZE - 1)).astype(int)
        return columns, _TOP + np.rint((1 - np.clip(y, 0, 1)) * (_SIZE - 1)).astype(int)

    def _polyline(self, x: np.ndarray, y: np.ndarray, colour: tuple[int, int, int], thick: int) -> None:
        for i in range(len(x) - 1):
            steps = 1 + int(_SIZE * max(abs(x[i + 1] - x[i]), abs(y[i + 1] - y[i])))
            t = np.linspace(0, 1, 2 * steps)
            columns, rows = self._places(x[i] + t * (x[i + 1] - x[i]), y[i] + t * (y[i + 1] - y[i]))
            for shift in range(thick + 1):
                self.pixels[rows + shift, columns] = colour
                self.pixels[rows, columns + shift] = colour
