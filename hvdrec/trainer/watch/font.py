"""A font of five by seven pixels, for the pictures of an evaluation."""

from __future__ import annotations

import numpy as np

#: Each letter with its five columns of seven pixels; the lowest bit is at the top.
_FORMS = """
. 0060600000 , 0050300000 - 0808080808 ( 001C224100 ) 0041221C00 0 3E5149453E 1 00427F4000
2 4261514946 3 2141454B31 4 1814127F10 5 2745454539 6 3C4A494930 7 0171090503 8 3649494936
9 064949291E A 7E1111117E B 7F49494936 C 3E41414122 D 7F4141221C E 7F49494941 F 7F09090901
O 3E4141413E P 7F09090906 R 7F09192946 S 4649494931 T 01017F0101 U 3F4040403F a 2054545478
b 7F48444438 c 3844444420 d 384444487F e 3854545418 f 087E090102 g 0C5252523E h 7F08040478
i 00447D4000 j 2040443D00 k 7F10284400 l 00417F4000 m 7C04180478 n 7C08040478 o 3844444438
p 7C14141408 q 081414187C r 7C08040408 s 4854545420 t 043F444020 u 3C4040207C v 1C2040201C
w 3C4030403C x 4428102844 y 0C5050503C z 4464544C44
"""
_WORDS = _FORMS.split()
_COLUMNS = {letter: bytes.fromhex(form) for letter, form in zip(_WORDS[::2], _WORDS[1::2], strict=True)}
HEIGHT = 7
_ADVANCE = 6


def written(text: str) -> np.ndarray:
    """The pixels of a line of text: bool [7, width]; unknown letters are blank."""
    pixels = np.zeros((HEIGHT, max(1, _ADVANCE * len(text))), bool)
    for i, letter in enumerate(text):
        for column, bits in enumerate(_COLUMNS.get(letter, b"")):
            pixels[:, _ADVANCE * i + column] = [bits >> row & 1 for row in range(HEIGHT)]
    return pixels
