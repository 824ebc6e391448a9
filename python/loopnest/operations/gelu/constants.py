"""The constants of GELU's two forms, for all backends: w = LINEAR · x · (1 + CUBIC · x²), φ(0) = DENSITY_AT_0."""

import math

LINEAR = 2 * math.sqrt(2 / math.pi)
CUBIC = 0.044715
ROOT_HALF = math.sqrt(0.5)
DENSITY_AT_0 = 1 / math.sqrt(2 * math.pi)
FARTHEST = 40.0
"""Beyond ±40 the exponentials of both forms are 0, in float64 too; nearer, no square overflows."""
