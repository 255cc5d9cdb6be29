// Transforms of 24 or 12 numbers, as many of them side by side as a vector has lanes.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "vectors.h"

namespace {

constexpr int W = LANES;

struct Complex {
  Floats re, im;
};

// Transforms ----------------------------------------------------------------------------------------------------------

inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
inline Complex operator*(Complex a, float b) { return {a.re * b, a.im * b}; }

// SIGN * i * a
template <int SIGN>
inline Complex turned(Complex a) {
  if constexpr (SIGN > 0)
    return {-a.im, a.re};
  else
    return {a.im, -a.re};
}

// out[k] = sum_n x[n] exp(SIGN 2 pi i n k / 4)
template <int SIGN>
inline void transform_power(const Complex (&x)[4], Complex (&out)[4]) {
  const Complex a0 = x[0] + x[2], a1 = x[0] - x[2], b0 = x[1] + x[3], b1 = turned<SIGN>(x[1] - x[3]);
  out[0] = a0 + b0;
  out[1] = a1 + b1;
  out[2] = a0 - b0;
  out[3] = a1 - b1;
}

// out[k] = sum_n x[n] exp(SIGN 2 pi i n k / 8)
template <int SIGN>
inline void transform_power(const Complex (&x)[8], Complex (&out)[8]) {
  constexpr float root = 0.70710678118654752f;
  const Complex a0 = x[0] + x[4], a1 = x[0] - x[4], a2 = x[2] + x[6], a3 = turned<SIGN>(x[2] - x[6]);
  const Complex b0 = x[1] + x[5], b1 = x[1] - x[5], b2 = x[3] + x[7], b3 = turned<SIGN>(x[3] - x[7]);
  const Complex even0 = a0 + a2, even1 = a1 + a3, even2 = a0 - a2, even3 = a1 - a3;
  const Complex odd0 = b0 + b2, odd1 = b1 + b3, odd2 = turned<SIGN>(b0 - b2), odd3 = b1 - b3;
  const Complex turned1 = (odd1 + turned<SIGN>(odd1)) * root, turned3 = (turned<SIGN>(odd3) - odd3) * root;
  out[0] = even0 + odd0;
  out[1] = even1 + turned1;
  out[2] = even2 + odd2;
  out[3] = even3 + turned3;
  out[4] = even0 - odd0;
  out[5] = even1 - turned1;
  out[6] = even2 - odd2;
  out[7] = even3 - turned3;
}

// to(k, sum_n from(n) exp(SIGN 2 pi i n k / N)) for k < OUT, of N = 3 P numbers, P = 8 or 4. As 3 and P have no common
// divisor, n = P n1 + 3 n2 and k = A k1 + 9 k2 (mod N), where A is 1 mod 3 and 0 mod P, make it transforms of P and of 3
// without factors between them (Good 1958).
template <int N, int SIGN, int OUT, class From, class To>
inline __attribute__((always_inline)) void transform(From from, To to) {
  constexpr int P = N / 3, A = P % 3 == 1 ? P : 2 * P;
  static_assert(N == 24 || N == 12);
  constexpr float half_root = 0.86602540378443865f;
  Complex by_power[3][P];
#pragma GCC unroll 3
  for (int n1 = 0; n1 < 3; n1++) {
    Complex x[P];
#pragma GCC unroll 8
    for (int n2 = 0; n2 < P; n2++) x[n2] = from((P * n1 + 3 * n2) % N);
    transform_power<SIGN>(x, by_power[n1]);
  }
#pragma GCC unroll 8
  for (int k2 = 0; k2 < P; k2++) {
    const Complex x0 = by_power[0][k2], sum = by_power[1][k2] + by_power[2][k2];
    const Complex turn = turned<SIGN>((by_power[1][k2] - by_power[2][k2]) * half_root), middle = x0 - sum * 0.5f;
    const int k0 = 9 * k2 % N, k1 = (A + 9 * k2) % N, k3 = (2 * A + 9 * k2) % N;
    if (k0 < OUT) to(k0, x0 + sum);
    if (k1 < OUT) to(k1, middle + turn);
    if (k3 < OUT) to(k3, middle - turn);
  }
}

// Of every block of pairs of channels, the sum over chunks [chunk][block], to the biases of its branch.
inline void add_up_biases(const Complex* sums, int64_t chunks, int64_t all, int64_t blocks, float* const* biases) {
  for (int64_t block = 0; block < all; block++) {
    Complex total{};
    for (int64_t chunk = 0; chunk < chunks; chunk++) total = total + sums[chunk * all + block];
    float* to = biases[block / blocks] + block % blocks * 2 * W;
    store(to, total.re);
    store(to + W, total.im);
  }
}

}  // namespace
