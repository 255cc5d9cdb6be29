// The Hadamax block after its convolutions, in one pass over memory: norm -> GELU -> product -> max-pool (arXiv
// 2505.15345, section 4), and its gradient. Both of the paper's variants:
//
//   PIXEL  LayerNorm over the channels of each pixel with scale and bias, tanh GELU        (Hadamax-PQN)
//   IMAGE  LayerNorm over channels, height and width together, nothing learned, exact GELU (Hadamax-C51)
//
// and two of its ablations, which are as PIXEL otherwise:
//
//   RECTIFIED  ReLU in the GELU's place
//   SINGLE     one branch, and no product
//
// Images are [B, H, W, C], C a multiple of 16, float or bfloat16; all arithmetic is float. Each image is one thread's
// work and leaves its own partial sums, so that results do not depend on the number of threads.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "vectors.h"

namespace {

// Lane i of the result is the sum of vector i: as many sums as there are lanes, for little more than a few of them.
inline Floats sums_of_each(const Floats (&v)[LANES]) {
  Floats quarters[4], halves[2];
#if defined(__AVX512F__)
  Floats eighths[8];
  for (int i = 0; i < 8; i++)
    eighths[i] = __builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                 __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  for (int i = 0; i < 4; i++) {
    const Floats x = eighths[i], y = eighths[i + 4];
    quarters[i] = __builtin_shufflevector(x, y, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
                  __builtin_shufflevector(x, y, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
  }
  for (int i = 0; i < 2; i++) {
    const Floats x = quarters[i], y = quarters[i + 2];
    halves[i] = __builtin_shufflevector(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
                __builtin_shufflevector(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  }
  const Floats x = halves[0], y = halves[1];
  return __builtin_shufflevector(x, y, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
         __builtin_shufflevector(x, y, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
#else
  for (int i = 0; i < 4; i++)
    quarters[i] = __builtin_shufflevector(v[i], v[i + 4], 0, 1, 2, 3, 8, 9, 10, 11) +
                  __builtin_shufflevector(v[i], v[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  for (int i = 0; i < 2; i++) {
    const Floats x = quarters[i], y = quarters[i + 2];
    halves[i] = __builtin_shufflevector(x, y, 0, 1, 8, 9, 4, 5, 12, 13) +
                __builtin_shufflevector(x, y, 2, 3, 10, 11, 6, 7, 14, 15);
  }
  const Floats x = halves[0], y = halves[1];
  return __builtin_shufflevector(x, y, 0, 8, 2, 10, 4, 12, 6, 14) +
         __builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
#endif
}

inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }
inline Floats smaller(Floats a, Floats b) { return a < b ? a : b; }

constexpr float LOG2_E = 1.44269504f;

// 2^x to about 2e-7 relative, x held to what neither overflows nor becomes denormal: 2^n times a polynomial in the rest,
// |rest| <= 1/2 (Cephes' coefficients).
inline Floats power_of_two(Floats x) {
  x = larger(smaller(x, all(126.0f)), all(-126.0f));
  const Floats magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  Floats shifted = x + magic;
  Floats r = x - (shifted - magic);
  Floats p = all(1.535336188e-4f);
  p = p * r + 1.339887440e-3f;
  p = p * r + 9.618437358e-3f;
  p = p * r + 5.550332471e-2f;
  p = p * r + 2.402264791e-1f;
  p = p * r + 6.931472029e-1f;
  p = p * r + 1.0f;
  return (Floats)((Ints)p + ((Ints)shifted << 23));  // magic's own last bits are 0: they leave with the shift
}

struct TanhGelu {
  static constexpr float k = 0.7978845608f, c = 0.044715f;  // sqrt(2 / pi)

  // 1 / gate(y), where gate(y) = 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)) is what gelu multiplies y with.
  static Floats inverse_gate(Floats y) { return 1.0f + power_of_two(y * (-2.0f * LOG2_E * k - 2.0f * LOG2_E * k * c * y * y)); }
  static Floats value(Floats y) { return y / inverse_gate(y); }
  static Floats product(Floats y, Floats z) {  // of gelu(y) and gelu(z), for a single division
    return y * z / (inverse_gate(y) * inverse_gate(z));
  }
  static void value_and_slope(Floats y, Floats& value, Floats& slope) {
    Floats s = 1.0f / inverse_gate(y);
    value = y * s;
    slope = s + value * (1.0f - s) * (2.0f * k + 6.0f * k * c * y * y);
  }
};

struct ExactGelu {
  // The normal distribution function by Abramowitz and Stegun's 7.1.26 for erf (absolute error 1.5e-7).
  static void parts(Floats y, Floats& cumulative, Floats& bell) {
    Floats z = y * 0.70710678f;
    Floats distance = z < 0.0f ? -z : z;
    Floats t = 1.0f / (1.0f + 0.3275911f * distance);
    bell = power_of_two(-LOG2_E * distance * distance);
    Floats p = all(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    Floats tail = 0.5f * p * t * bell;
    cumulative = z < 0.0f ? tail : 1.0f - tail;
  }
  static Floats product(Floats y, Floats z) {
    Floats of_y, of_z, bell;
    parts(y, of_y, bell);
    parts(z, of_z, bell);
    return (y * of_y) * (z * of_z);
  }
  static void value_and_slope(Floats y, Floats& value, Floats& slope) {
    Floats cumulative, bell;
    parts(y, cumulative, bell);
    value = y * cumulative;
    slope = cumulative + y * bell * 0.39894228f;  // 1 / sqrt(2 pi)
  }
};

struct Relu {
  static Floats value(Floats y) { return y < 0.0f ? Floats{} : y; }  // nan stays nan
  static Floats product(Floats y, Floats z) { return value(y) * value(z); }
  static void value_and_slope(Floats y, Floats& value, Floats& slope) {
    value = Relu::value(y);
    slope = y > 0.0f ? all(1.0f) : Floats{};
  }
};

struct Shape {
  int64_t images, height, width, channels;
  int64_t out_height, out_width;
  int64_t size, stride, padding;  // of the pooling windows; padding before the first row and column
  float epsilon;
};

// Mean and inverse standard deviation of every pixel of one branch, or those of its image, the same at each of them.
struct Moments {
  float *mean, *inverse;  // [height * width]
  int64_t rows = 0;       // computed so far
  Moments(const Shape& s, float* at) : mean(at), inverse(at + s.height * s.width) {}
};

// Of the pixels of one row, two passes as the plain composition has it, as many pixels at a time as there are lanes.
template <int V, class T>
void pixel_moments(const T* row, int64_t width, float epsilon, float* mean, float* inverse) {
  constexpr float share = 1.0f / (V * LANES);
  for (int64_t first = 0; first < width; first += LANES) {
    const int64_t count = width - first < LANES ? width - first : LANES;
    const T* at = row + first * V * LANES;
    Floats totals[LANES]{}, squares[LANES]{};
    float means[LANES], inverses[LANES];
    for (int64_t p = 0; p < count; p++)
      for (int v = 0; v < V; v++) totals[p] += load(at + (p * V + v) * LANES);
    store(means, sums_of_each(totals) * share);
    for (int64_t p = 0; p < count; p++)
      for (int v = 0; v < V; v++) {
        Floats centred = load(at + (p * V + v) * LANES) - means[p];
        squares[p] += centred * centred;
      }
    store(inverses, sums_of_each(squares) * share + epsilon);
    for (int i = 0; i < LANES; i++) inverses[i] = 1.0f / __builtin_sqrtf(inverses[i]);
    std::memcpy(mean + first, means, sizeof(float) * count);
    std::memcpy(inverse + first, inverses, sizeof(float) * count);
  }
}

template <class T>
void image_moments(const T* image, int64_t pixels, int64_t channels, float epsilon, Moments& of) {
  const int64_t count = pixels * channels;
  // Sums of rows of 4096 in double: a float's own error would grow with the image.
  double total = 0, squares = 0;
  constexpr int64_t ROW = 4096;
  for (int64_t i = 0; i < count; i += ROW) {
    Floats part{};
    for (int64_t j = i; j < i + ROW && j < count; j += LANES) part += load(image + j);
    total += sum(part);
  }
  const float mean = float(total / double(count));
  for (int64_t i = 0; i < count; i += ROW) {
    Floats part{};
    for (int64_t j = i; j < i + ROW && j < count; j += LANES) {
      Floats centred = load(image + j) - mean;
      part += centred * centred;
    }
    squares += sum(part);
  }
  std::fill_n(of.mean, pixels, mean);
  std::fill_n(of.inverse, pixels, 1.0f / __builtin_sqrtf(float(squares / double(count)) + epsilon));
}

struct Pixel {
  static constexpr bool per_image = false, single = false;
  using Activation = TanhGelu;
};
struct Image {
  static constexpr bool per_image = true, single = false;
  using Activation = ExactGelu;
};
struct Rectified : Pixel {
  using Activation = Relu;
};
struct Single : Pixel {
  static constexpr bool single = true;  // nothing of branch b is read, and its gradient is not written
};

template <int V>
struct Affine {  // scale and bias of one branch
  Floats scale[V], bias[V];
  Affine(const float* from_scale, const float* from_bias) {
    for (int v = 0; v < V; v++) {
      scale[v] = from_scale ? load(from_scale + v * LANES) : all(1.0f);
      bias[v] = from_bias ? load(from_bias + v * LANES) : all(0.0f);
    }
  }
};

// Sees to it that the moments of one branch are there for all rows before `end`.
template <int V, class Kind, class T>
void ready(const Shape& s, const T* image, int64_t end, Moments& of) {
  const int64_t row = s.width * s.channels;
  if constexpr (Kind::per_image) {
    if (of.rows == 0) image_moments(image, s.height * s.width, s.channels, s.epsilon, of);
    of.rows = s.height;
  } else {
    for (; of.rows < end; of.rows++) {
      const int64_t at = of.rows * s.width;
      pixel_moments<V>(image + of.rows * row, s.width, s.epsilon, of.mean + at, of.inverse + at);
    }
  }
}

// Norms the numbers of one pixel.
struct PixelNorm {
  Floats mean, inverse;
  PixelNorm(const Moments& of, int64_t pixel) : mean(all(of.mean[pixel])), inverse(all(of.inverse[pixel])) {}
  Floats operator()(Floats values) const { return (values - mean) * inverse; }
};

template <int V, class Kind, class T>
void forward_image(const Shape& s, const T* a, const T* b, const Affine<V>& of_a, const Affine<V>& of_b, T* out,
                   uint8_t* argmax, float* moments, float* rows) {
  const int64_t C = s.channels, row = s.width * C;
  Moments in_a(s, moments), in_b(s, moments + 2 * s.height * s.width);
  int64_t computed = 0;  // rows of the product that `rows`, a ring of s.size, has held so far
  for (int64_t oy = 0; oy < s.out_height; oy++) {
    const int64_t top = oy * s.stride - s.padding;
    const int64_t bottom = top + s.size < s.height ? top + s.size : s.height;
    ready<V, Kind>(s, a, bottom, in_a);
    if constexpr (!Kind::single) ready<V, Kind>(s, b, bottom, in_b);
    for (; computed < bottom; computed++) {
      float* products = rows + (computed % s.size) * row;
      for (int64_t x = 0; x < s.width; x++) {
        const int64_t pixel = computed * s.width + x;
        const PixelNorm norm_a(in_a, pixel), norm_b(Kind::single ? in_a : in_b, pixel);
        for (int v = 0; v < V; v++) {
          const int64_t lane = pixel * C + v * LANES;
          const Floats ya = norm_a(load(a + lane)) * of_a.scale[v] + of_a.bias[v];
          if constexpr (Kind::single) {
            store(products + x * C + v * LANES, Kind::Activation::value(ya));
          } else {
            const Floats yb = norm_b(load(b + lane)) * of_b.scale[v] + of_b.bias[v];
            store(products + x * C + v * LANES, Kind::Activation::product(ya, yb));
          }
        }
      }
    }
    for (int64_t ox = 0; ox < s.out_width; ox++) {
      const int64_t left = ox * s.stride - s.padding;
      for (int v = 0; v < V; v++) {
        Floats best = all(-__builtin_inff());
        Ints where = Ints{} - 1;
        for (int64_t dy = 0; dy < s.size; dy++) {
          const int64_t y = top + dy;
          if (y < 0 || y >= s.height) continue;
          const float* products = rows + (y % s.size) * row + v * LANES;
          for (int64_t dx = 0; dx < s.size; dx++) {
            const int64_t x = left + dx;
            if (x < 0 || x >= s.width) continue;
            Floats value = load(products + x * C);
            Ints wins = (value > best) | (value != value);  // nan wins, as in torch's own pooling
            best = wins ? value : best;
            where = wins ? Ints{} + int32_t(dy * s.size + dx) : where;
          }
        }
        const int64_t to = (oy * s.out_width + ox) * C + v * LANES;
        store(out + to, best);
        if (argmax) {
          Bytes bytes = __builtin_convertvector(where, Bytes);
          std::memcpy(argmax + to, &bytes, sizeof bytes);
        }
      }
    }
  }
  ready<V, Kind>(s, a, s.height, in_a);  // rows under no window too, for the gradient
  if constexpr (!Kind::single) ready<V, Kind>(s, b, s.height, in_b);
}

inline Ints where_was(const uint8_t* argmax) {
  Bytes bytes;
  std::memcpy(&bytes, argmax, sizeof bytes);
  return __builtin_convertvector(bytes, Ints);
}

// What the gradient adds up to over an image, of one branch.
template <int V>
struct Totals {
  Floats scale[V]{}, bias[V]{};
  double sum = 0, dot = 0;  // of the gradient at the normed values, and of it times those
};

// The gradient at the normed values of both branches, of one row of windows: [out_width, C], each where its window found
// the largest product. A window passes nothing on to any other pixel, so nothing else need be computed.
template <int V, class Kind, class T>
void window_row(const Shape& s, int64_t oy, const T* a, const T* b, const Moments& in_a, const Moments& in_b,
                const Affine<V>& of_a, const Affine<V>& of_b, const T* gradient, const uint8_t* argmax, float* to_a,
                float* to_b, Totals<V>& total_a, Totals<V>& total_b) {
  const int64_t C = s.channels, top = oy * s.stride - s.padding;
  Floats sum_a{}, dot_a{}, sum_b{}, dot_b{};
  for (int64_t ox = 0; ox < s.out_width; ox++) {
    const int64_t left = ox * s.stride - s.padding, from = (oy * s.out_width + ox) * C;
    Floats xa[V]{}, xb[V]{};
    Ints where[V];
    for (int v = 0; v < V; v++) where[v] = where_was(argmax + from + v * LANES);
    for (int64_t dy = 0; dy < s.size; dy++) {
      const int64_t y = top + dy;
      if (y < 0 || y >= s.height) continue;
      for (int64_t dx = 0; dx < s.size; dx++) {
        const int64_t x = left + dx;
        if (x < 0 || x >= s.width) continue;
        const int64_t pixel = y * s.width + x;
        const PixelNorm norm_a(in_a, pixel), norm_b(Kind::single ? in_a : in_b, pixel);
        for (int v = 0; v < V; v++) {
          const Ints here = where[v] == int32_t(dy * s.size + dx);
          xa[v] = here ? norm_a(load(a + pixel * C + v * LANES)) : xa[v];
          if constexpr (!Kind::single) xb[v] = here ? norm_b(load(b + pixel * C + v * LANES)) : xb[v];
        }
      }
    }
    for (int v = 0; v < V; v++) {
      Floats value_a, slope_a, value_b = all(1.0f), slope_b{};
      Kind::Activation::value_and_slope(xa[v] * of_a.scale[v] + of_a.bias[v], value_a, slope_a);
      if constexpr (!Kind::single)
        Kind::Activation::value_and_slope(xb[v] * of_b.scale[v] + of_b.bias[v], value_b, slope_b);
      const Floats came = load(gradient + from + v * LANES);
      Floats ga = came * value_b * slope_a, gb = came * value_a * slope_b;
      if constexpr (Kind::per_image) {
        sum_a += ga;
        dot_a += ga * xa[v];
        sum_b += gb;
        dot_b += gb * xb[v];
      } else {
        total_a.scale[v] += ga * xa[v];
        total_a.bias[v] += ga;
        total_b.scale[v] += gb * xb[v];
        total_b.bias[v] += gb;
        ga *= of_a.scale[v];
        gb *= of_b.scale[v];
      }
      store(to_a + ox * C + v * LANES, ga);
      store(to_b + ox * C + v * LANES, gb);
    }
  }
  if constexpr (Kind::per_image) {
    total_a.sum += sum(sum_a);
    total_a.dot += sum(dot_a);
    total_b.sum += sum(sum_b);
    total_b.dot += sum(dot_b);
  }
}

// What the windows of row oy send to the pixels of row y is added to [width, C] of each branch.
template <int V, class Kind>
void scatter(const Shape& s, int64_t y, int64_t oy, const uint8_t* argmax, const float* from_a, const float* from_b,
             float* to_a, float* to_b) {
  const int64_t C = s.channels, dy = y + s.padding - oy * s.stride;
  const bool windows_overlap = s.size > s.stride;
  for (int64_t ox = 0; ox < s.out_width; ox++) {
    const int64_t left = ox * s.stride - s.padding;
    for (int v = 0; v < V; v++) {
      const int64_t lane = v * LANES;
      const Ints where = where_was(argmax + (oy * s.out_width + ox) * C + lane) - int32_t(dy * s.size);
      const Floats sent_a = load(from_a + ox * C + lane);
      const Floats sent_b = Kind::single ? Floats{} : load(from_b + ox * C + lane);
      for (int64_t dx = 0; dx < s.size; dx++) {
        const int64_t x = left + dx;
        if (x < 0 || x >= s.width) continue;
        const Ints here = where == int32_t(dx);
        Floats add_a = here ? sent_a : Floats{}, add_b = here ? sent_b : Floats{};
        if (windows_overlap) {
          add_a += load(to_a + x * C + lane);
          if constexpr (!Kind::single) add_b += load(to_b + x * C + lane);
        }
        store(to_a + x * C + lane, add_a);
        if constexpr (!Kind::single) store(to_b + x * C + lane, add_b);
      }
    }
  }
}

// Through the norm of one branch: from the gradient at a row's normed values to that at the row itself.
template <int V, class Kind, class T>
void through_norm(const Shape& s, const T* row, const float* mean, const float* inverse, const float* sent,
                  const Totals<V>& total, T* to) {
  constexpr float share = 1.0f / (V * LANES);
  const double count = double(s.height * s.width * s.channels);
  for (int64_t first = 0; first < s.width; first += LANES) {
    const int64_t block = s.width - first < LANES ? s.width - first : LANES;
    float whole[LANES], along[LANES];  // means over what was normed together: of the gradient, and of it times x
    if constexpr (Kind::per_image) {
      store(whole, all(float(total.sum / count)));
      store(along, all(float(total.dot / count)));
    } else {
      Floats sums[LANES]{}, dots[LANES]{};
      for (int64_t p = 0; p < block; p++)
        for (int v = 0; v < V; v++) {
          const int64_t at = ((first + p) * V + v) * LANES;
          const Floats x = (load(row + at) - mean[first + p]) * inverse[first + p], g = load(sent + at);
          sums[p] += g;
          dots[p] += g * x;
        }
      store(whole, sums_of_each(sums) * share);
      store(along, sums_of_each(dots) * share);
    }
    for (int64_t p = 0; p < block; p++)
      for (int v = 0; v < V; v++) {
        const int64_t at = ((first + p) * V + v) * LANES;
        const Floats x = (load(row + at) - mean[first + p]) * inverse[first + p];
        store(to + at, inverse[first + p] * (load(sent + at) - whole[p] - x * along[p]));
      }
  }
}

// parameter_sums: [4, C] of this image: d scale a, d bias a, d scale b, d bias b; untouched by the image norm.
template <int V, class Kind, class T>
void backward_image(const Shape& s, const T* a, const T* b, const Affine<V>& of_a, const Affine<V>& of_b,
                    const T* gradient, const uint8_t* argmax, float* moments, T* grad_a, T* grad_b,
                    float* parameter_sums) {
  const int64_t C = s.channels, row = s.width * C, pooled_row = s.out_width * C;
  const Moments in_a(s, moments), in_b(s, moments + 2 * s.height * s.width);
  Totals<V> total_a, total_b;
  // Rows of windows live until the last pixel row under them: never more than s.size at a time, kept in rings.
  std::vector<float> windows_a(s.size * pooled_row), windows_b(s.size * pooled_row), sent_a(row), sent_b(row);

  auto compute = [&](int64_t oy) {
    const int64_t slot = oy % s.size * pooled_row;
    window_row<V, Kind>(s, oy, a, b, in_a, in_b, of_a, of_b, gradient, argmax, &windows_a[slot], &windows_b[slot],
                        total_a, total_b);
  };
  if constexpr (Kind::per_image) {  // the totals must be complete before the first pixel's gradient
    for (int64_t oy = 0; oy < s.out_height; oy++) compute(oy);
  }
  const Totals<V> whole_a = total_a, whole_b = total_b;

  int64_t first = 0, end = 0;  // rows of windows over this row of pixels
  for (int64_t y = 0; y < s.height; y++) {
    for (; end < s.out_height && end * s.stride - s.padding <= y; end++) compute(end);
    while (first < end && first * s.stride - s.padding + s.size <= y) first++;
    std::fill(sent_a.begin(), sent_a.end(), 0.0f);
    std::fill(sent_b.begin(), sent_b.end(), 0.0f);
    for (int64_t oy = first; oy < end; oy++) {
      const int64_t slot = oy % s.size * pooled_row;
      scatter<V, Kind>(s, y, oy, argmax, &windows_a[slot], &windows_b[slot], sent_a.data(), sent_b.data());
    }
    const int64_t at = y * s.width;
    through_norm<V, Kind>(s, a + y * row, in_a.mean + at, in_a.inverse + at, sent_a.data(), whole_a, grad_a + y * row);
    if constexpr (!Kind::single)
      through_norm<V, Kind>(s, b + y * row, in_b.mean + at, in_b.inverse + at, sent_b.data(), whole_b,
                            grad_b + y * row);
  }
  if constexpr (!Kind::per_image) {
    for (int v = 0; v < V; v++) {
      store(parameter_sums + v * LANES, total_a.scale[v]);
      store(parameter_sums + C + v * LANES, total_a.bias[v]);
      store(parameter_sums + 2 * C + v * LANES, total_b.scale[v]);
      store(parameter_sums + 3 * C + v * LANES, total_b.bias[v]);
    }
  }
}

template <int V, class Kind, class T>
void forward(const Shape& s, const void* a, const void* b, const float* const* affine, void* out, uint8_t* argmax,
             float* moments, int threads) {
  const int64_t in = s.height * s.width * s.channels, pooled = s.out_height * s.out_width * s.channels;
  const Affine<V> of_a(affine[0], affine[1]), of_b(affine[2], affine[3]);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<float> rows(s.size * s.width * s.channels), own(moments ? 0 : 4 * s.height * s.width);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < s.images; n++)
      forward_image<V, Kind>(s, (const T*)a + n * in, (const T*)b + n * in, of_a, of_b, (T*)out + n * pooled,
                             argmax ? argmax + n * pooled : nullptr,
                             moments ? moments + n * 4 * s.height * s.width : own.data(), rows.data());
  }
}

template <int V, class Kind, class T>
void backward(const Shape& s, const void* a, const void* b, const float* const* affine, const void* gradient,
              const uint8_t* argmax, float* moments, void* grad_a, void* grad_b, float* sums, int threads) {
  const int64_t in = s.height * s.width * s.channels, pooled = s.out_height * s.out_width * s.channels;
  const Affine<V> of_a(affine[0], affine[1]), of_b(affine[2], affine[3]);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#pragma omp for schedule(static)
    for (int64_t n = 0; n < s.images; n++)
      backward_image<V, Kind>(s, (const T*)a + n * in, (const T*)b + n * in, of_a, of_b,
                              (const T*)gradient + n * pooled, argmax + n * pooled,
                              moments + n * 4 * s.height * s.width, (T*)grad_a + n * in,
                              (T*)grad_b + n * in, sums ? sums + n * 4 * s.channels : nullptr);
  }
}

// Calls `what`<V, Kind, T>(...) for the number of channels, the kind and the type at hand; 1 if there is none such.
#define DISPATCH(what, ...)                                                                             \
  do {                                                                                                  \
    const auto call = [&](auto v, auto of, auto type) {                                                 \
      what<decltype(v)::value, decltype(of), decltype(type)>(s, __VA_ARGS__);                           \
    };                                                                                                  \
    if (s.channels == 32) return is_bfloat16 ? of_kind<32 / LANES, BFloat16>(kind, call)                \
                                             : of_kind<32 / LANES, float>(kind, call);                  \
    if (s.channels == 64) return is_bfloat16 ? of_kind<64 / LANES, BFloat16>(kind, call)                \
                                             : of_kind<64 / LANES, float>(kind, call);                  \
    return 1;                                                                                           \
  } while (0)

template <int V>
struct Count {
  static constexpr int value = V;
};

template <int V, class T, class Call>
int of_kind(int kind, Call call) {
  switch (kind) {
    case 0: call(Count<V>{}, Pixel{}, T{}); return 0;
    case 1: call(Count<V>{}, Image{}, T{}); return 0;
    case 2: call(Count<V>{}, Rectified{}, T{}); return 0;
    case 3: call(Count<V>{}, Single{}, T{}); return 0;
    default: return 1;
  }
}

}  // namespace

extern "C" {

// shape: images, height, width, channels, pooled height, pooled width, window size, stride, padding.
// kind: 0 PIXEL, 1 IMAGE, 2 RECTIFIED, 3 SINGLE.
// affine: scale a, bias a, scale b, bias b, each [channels] or null. argmax and moments [images, 4, height * width] are
// what the gradient needs to know; both null where none is wanted.
// Returns 0, or 1 for a number of channels or a kind there is no code for.

int hadamax_forward(const int64_t* shape, float epsilon, int kind, int is_bfloat16, int threads, const void* a,
                    const void* b, const float* const* affine, void* out, uint8_t* argmax, float* moments) {
  const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], shape[7], shape[8], epsilon};
  DISPATCH(forward, a, b, affine, out, argmax, moments, threads);
}

int hadamax_backward(const int64_t* shape, float epsilon, int kind, int is_bfloat16, int threads, const void* a,
                     const void* b, const float* const* affine, const void* gradient, const uint8_t* argmax,
                     float* moments, void* grad_a, void* grad_b, float* sums) {
  const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], shape[7], shape[8], epsilon};
  DISPATCH(backward, a, b, affine, gradient, argmax, moments, grad_a, grad_b, sums, threads);
}
}
