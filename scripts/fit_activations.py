#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes kernels/common/activation_tables.h: the activations as polynomials on 32 pieces.

    python3 scripts/fit_activations.py > kernels/common/activation_tables.h
    python3 scripts/fit_activations.py --sums > kernels/group_norm/silu_slope_table.h
    python3 scripts/fit_activations.py --errors

Each activation is act(x) = max(x, 0) - t(|x|), and its derivative at -|x| is s(|x|). Piece i spans half a
width on both sides of i * width; the last one is 0 and serves all that is larger. Polynomials pass through the
function at the Chebyshev points of their piece; those of t at 0 have no constant term. With --sums: the slope of
SiLU once more, of degree 4, for sums of what comes from bf16.
"""
import math
import struct
import sys

PIECES = 32


def sigmoid(x):
    return math.exp(x) / (1 + math.exp(x)) if x < 0 else 1 / (1 + math.exp(-x))


def sigmoid_form(z, dz):
    """t and s of x sigmoid(z(x)), z odd."""
    def t(u):
        return u * sigmoid(-z(u))

    def s(u):
        p = sigmoid(-z(u))
        return p - u * dz(u) * p * (1 - p)
    return t, s


def normal_cdf(x):
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


def density(x):
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


C, A = math.sqrt(8 / math.pi), 0.044715
FORMS = {
    'silu': (sigmoid_form(lambda u: u, lambda u: 1), 0.5),
    'gelu': (sigmoid_form(lambda u: C * (u + A * u ** 3), lambda u: C * (1 + 3 * A * u * u)), 0.1875),
    'gelu_erf': ((lambda u: u * normal_cdf(-u), lambda u: normal_cdf(-u) - u * density(u)), 0.1875),
    'quick_gelu': (sigmoid_form(lambda u: 1.702 * u, lambda u: 1.702), 0.296875),
}

SUMS_DEGREE, SUMS_WIDTH = 4, 0.5


def lowered_power(i):
    """2^(i / 32) as a float of whose bits i << 18 is taken: i + 32 n, shifted by 18, makes 2^(n + i / 32) of it."""
    bits, = struct.unpack('<I', struct.pack('<f', 2 ** (i / 32)))
    return struct.unpack('<f', struct.pack('<I', bits - (i << 18)))[0]


def interpolate(f, points):
    """Coefficients, lowest first, of the polynomial through f at the points (Newton's form, expanded)."""
    d = [f(p) for p in points]
    n = len(points)
    for k in range(1, n):
        for i in range(n - 1, k - 1, -1):
            d[i] = (d[i] - d[i - 1]) / (points[i] - points[i - k])
    c = [0.0] * n
    for k in range(n - 1, -1, -1):
        c = [(c[i - 1] if i else 0) - points[k] * c[i] for i in range(n)]
        c[0] += d[k]
    return c


def chebyshev(low, high, count):
    return [(low + high) / 2 + (high - low) / 2 * math.cos(math.pi * (k + 0.5) / count)
            for k in range(count)]


def shifted(c, by):
    """The polynomial p(v - by) in powers of v."""
    out = [0.0] * len(c)
    for k in range(len(c) - 1, -1, -1):
        out = [(out[i - 1] if i else 0) - by * out[i] for i in range(len(c))]
        out[0] += c[k]
    return out


def fit(f, width, degree, local, zero):
    """Piece by piece; local: in powers of the distance from the piece's middle, else of u."""
    table = []
    for i in range(PIECES):
        if i == PIECES - 1:
            c = [0.0] * (degree + 1)
        elif i == 0 and zero:
            c = [0.0] + interpolate(lambda u: f(u) / u, chebyshev(0, width / 2, degree))
        else:
            middle, low = i * width, max(-width / 2, -i * width)
            c = interpolate(lambda v: f(middle + v), chebyshev(low, width / 2, degree + 1))
            c = c if local else shifted(c, middle)
        table.append(c)
    return table


def show_row(values, before, after):
    row = [f'{v:.9g}' for v in values]
    row = [r + ('' if '.' in r or 'e' in r else '.0') + 'f' for r in row]
    print(before + ', '.join(row) + after)


def show(name, table):
    print(f'static const float mgk_{name}[{len(table[0])}][{PIECES}] = {{')
    for k in range(len(table[0])):
        show_row([c[k] for c in table], '    {', '},')
    print('};')


def errors(name, f, table, width, local):
    worst, far = 0.0, 0.0
    for i in range(1, 40000):
        u = i * (PIECES - 1.5) * width / 40000
        piece = int(u / width + 0.5)
        v = u - piece * width if local else u
        got = sum(c * v ** k for k, c in enumerate(table[piece]))
        worst = max(worst, abs(got - f(u)))
        if u < 4:
            far = max(far, abs(got - f(u)) / max(abs(f(u)), 1e-3 if name.endswith('slope') else 0))
    print(f'{name}: absolute 2^{math.log2(worst):.1f}, of the value for u < 4: 2^{math.log2(far):.1f},'
          f' past the end {f((PIECES - 1.5) * width):.2g}')


def sums(only_errors):
    slope = FORMS['silu'][0][1]
    table = fit(slope, SUMS_WIDTH, SUMS_DEGREE, False, False)
    if only_errors:
        errors('silu_sums_slope', slope, table, SUMS_WIDTH, False)
        return
    print('/* SPDX-License-Identifier: MIT\n'
          ' * The derivative of SiLU on 32 pieces; written by scripts/fit_activations.py --sums, which says\n'
          ' * what it is. [power of u][piece] */\n'
          '#ifndef MGK_SILU_SLOPE_TABLE_H\n#define MGK_SILU_SLOPE_TABLE_H\n\n'
          f'#define MGK_SILU_SUMS_WIDTH {SUMS_WIDTH:g}f\n')
    show('silu_sums_slope', table)
    print('\n#endif')


def main():
    only_errors = '--errors' in sys.argv
    if only_errors or '--sums' in sys.argv:
        sums(only_errors)
    if '--sums' in sys.argv:
        return
    if not only_errors:
        print('/* SPDX-License-Identifier: MIT\n'
              ' * The activations as polynomials on 32 pieces; written by scripts/fit_activations.py, which'
              ' says\n * what they are. [power of u or of the distance from the piece\'s middle][piece] */\n'
              '#ifndef MGK_COMMON_ACTIVATION_TABLES_H\n#define MGK_COMMON_ACTIVATION_TABLES_H\n')
        for name, (_, width) in FORMS.items():
            print(f'#define MGK_{name.upper()}_WIDTH {width:g}f')
        print('\n/* 2^(i / 32), less i << 18 of its bits. */')
        print('static const float mgk_powers[32] = {')
        show_row([lowered_power(i) for i in range(32)], '    ', '};\n')
    for name, ((t, s), width) in FORMS.items():
        for kind, f in (('', t), ('_slope', s)):
            for suffix, degree, local in (('_brief', 2, False), ('', 4, True)):
                if not suffix and not name.startswith('gelu'):
                    continue
                table = fit(f, width, degree, local, not kind)
                if only_errors:
                    errors(name + suffix + kind, f, table, width, local)
                else:
                    show(name + suffix + kind, table)
    if not only_errors:
        print('\n#endif')


main()
