"""Curves over the unit square as small pictures, for TensorBoard."""

from __future__ import annotations

import numpy as np

_SIZE = 320
_MARGIN = 10
_GREY, _DARK, _BLUE, _PALE = (225, 225, 225), (90, 90, 90), (33, 102, 172), (198, 219, 239)


class UnitSquare:
    """A picture of [0, 1] x [0, 1] with a grid at tenths and the diagonal.

    Attributes:
        pixels: uint8 [height, width, 3].
    """

    def __init__(self) -> None:
        """Draws grid and frame."""
        side = _SIZE + 2 * _MARGIN
        self.pixels = np.full((side, side, 3), 255, np.uint8)
        for tenth in np.linspace(0, 1, 11):
            colour = _DARK if tenth in (0.0, 1.0) else _GREY
            self._polyline(np.asarray([0, 1]), np.asarray([tenth, tenth]), colour, 0)
            self._polyline(np.asarray([tenth, tenth]), np.asarray([0, 1]), colour, 0)
        self._polyline(np.asarray([0, 1]), np.asarray([0, 1]), _DARK, 0)

    def curve(self, x: np.ndarray, y: np.ndarray) -> None:
        """Draws lines between the points."""
        self._polyline(x, y, _BLUE, 1)

    def points(self, x: np.ndarray, y: np.ndarray) -> None:
        """Marks the points."""
        for column, row in zip(*self._places(x, y), strict=True):
            self.pixels[row - 3 : row + 4, column - 3 : column + 4] = _BLUE

    def bars(self, x: np.ndarray, height: np.ndarray) -> None:
        """Draws bars from the bottom at each x; heights are relative to the largest."""
        columns, tops = self._places(x, height / max(1e-300, float(np.max(height, initial=0.0))))
        for column, top in zip(columns, tops, strict=True):
            self.pixels[top : _SIZE + _MARGIN, column - 2 : column + 3] = _PALE

    def _places(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = _MARGIN + np.rint(np.clip(x, 0, 1) * (_SIZE - 1)).astype(int)
        return columns, _MARGIN + np.rint((1 - np.clip(y, 0, 1)) * (_SIZE - 1)).astype(int)

    def _polyline(self, x: np.ndarray, y: np.ndarray, colour: tuple[int, int, int], thick: int) -> None:
        for i in range(len(x) - 1):
            steps = 1 + int(_SIZE * max(abs(x[i + 1] - x[i]), abs(y[i + 1] - y[i])))
            t = np.linspace(0, 1, 2 * steps)
            columns, rows = self._places(x[i] + t * (x[i + 1] - x[i]), y[i] + t * (y[i + 1] - y[i]))
            for shift in range(thick + 1):
                self.pixels[rows + shift, columns] = colour
                self.pixels[rows, columns + shift] = colour
