"""Colours by code points: ITU-T H.273, 8.1 and 8.2, as in AVIF, HEIC and PNG."""

from __future__ import annotations

from functools import cache

import numpy as np

from detection.codecs.icc import (
    BT709,
    D65,
    Chromaticity,
    Curve,
    Primaries,
    matrix_profile,
    srgb_light,
)

_DCI_WHITE: Chromaticity = (0.314, 0.351)
_C: Chromaticity = (0.310, 0.316)
_P3: Primaries = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_SMPTE_170M: Primaries = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
_PRIMARIES: dict[int, tuple[Primaries, Chromaticity]] = {
    1: (BT709, D65),
    4: (((0.67, 0.33), (0.21, 0.71), (0.14, 0.08)), _C),
    5: (((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), D65),
    6: (_SMPTE_170M, D65),
    7: (_SMPTE_170M, D65),
    9: (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), D65),
    11: (_P3, _DCI_WHITE),
    12: (_P3, D65),
    22: (((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)), D65),
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
_PQ, _HLG = 16, 18
_POINTS = np.linspace(0, 1, 1024)
_WHITE_NITS = 203  # of diffuse white in high dynamic range: ITU-R BT.2408, 2.1


@cache
def profile_of_code_points(primaries: int, transfer: int) -> bytes | None:
    """An ICC profile of the same colours; None where the primaries are not told.

    Curves of television's cameras (1, 6, 14 and so on) are taken for sRGB's, as browsers do. Of
    high dynamic range, what is brighter than white is white.
    """
    found = _PRIMARIES.get(primaries)
    if found is None:
        return None
    return matrix_profile(*found, _GAMMAS.get(transfer) or _light(transfer))


def _light(transfer: int) -> Curve:
    if transfer == _PQ:  # SMPTE ST 2084, 5.1
        root = _POINTS ** (1 / 78.84375)
        base = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return base ** (1 / 0.1593017578125) * 10_000 / _WHITE_NITS
    if transfer == _HLG:  # ITU-R BT.2100, table 5, on a display of 1,000 cd/m2
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(_POINTS <= 0.5, _POINTS**2 / 3, (np.exp((_POINTS - c) / a) + b) / 12)
        return scene**1.2 * 1_000 / _WHITE_NITS
    return srgb_light(_POINTS)
