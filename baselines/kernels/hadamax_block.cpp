// The Hadamax block after its convolutions, in one pass over memory: norm -> GELU -> product -> max-pool (arXiv
// 2505.15345, section 4), and its gradient. Both of the paper's variants:
//
//   PIXEL  LayerNorm over the channels of each pixel with scale and bias, tanh GELU        (Hadamax-PQN)
//   IMAGE  LayerNorm over channels, height and width together, nothing learned, exact GELU (Hadamax-C51)
//
// Images are [B, H, W, C], C a multiple of 16, float or bfloat16; all arithmetic is float. Each image is one thread's
// work and leaves its own partial sums, so that results do not depend on the number of threads.
//
// Vectors are the compilers' own (GCC and Clang), 16 lanes wide whatever the processor has.

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int LANES = 16;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

struct BFloat16 {
  uint16_t bits;
};

inline Floats all(float value) { return Floats{} + value; }

inline Floats load(const float* from) {
  Floats values;
  std::memcpy(&values, from, sizeof values);
  return values;
}

inline Floats load(const BFloat16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  return (Floats)(__builtin_convertvector(halves, Words) << 16);
}

inline void store(float* to, Floats values) { std::memcpy(to, &values, sizeof values); }

inline void store(BFloat16* to, Floats values) {  // to the nearest, ties to even; nan stays nan
  Words words = (Words)values;
  Words rounded = (words + 0x7fffu + ((words >> 16) & 1u)) >> 16;
  Ints is_nan = values != values;
  rounded = is_nan ? Words{} + 0x7fc0u : rounded;
  Halves halves = __builtin_convertvector(rounded, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

// The sum of the lanes, in every lane.
inline Floats sums(Floats v) {
  v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  v += __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  return v;
}

inline float sum(Floats v) { return sums(v)[0]; }

inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }
inline Floats smaller(Floats a, Floats b) { return a < b ? a : b; }

// exp(x) to about 1e-7 relative, x held to what neither overflows nor becomes denormal: 2^n times a polynomial in the
// rest, |rest| <= ln(2) / 2.
inline Floats exponential(Floats x) {
  x = larger(smaller(x, all(87.0f)), all(-87.0f));
  const Floats magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  Floats shifted = x * 1.44269504f + magic;
  Floats n = shifted - magic;
  Floats r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Floats p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return (Floats)((Ints)p + (((Ints)shifted - (Ints)magic) << 23));
}

struct TanhGelu {
  static constexpr float k = 0.7978845608f, c = 0.044715f;  // sqrt(2 / pi)

  static Floats gate(Floats y) {  // 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u))
    Floats u = y * (k + k * c * y * y);
    return 1.0f / (1.0f + exponential(-2.0f * u));
  }
  static Floats value(Floats y) { return y * gate(y); }
  static void value_and_slope(Floats y, Floats& value, Floats& slope) {
    Floats s = gate(y);
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
    bell = exponential(-distance * distance);
    Floats p = all(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    Floats tail = 0.5f * p * t * bell;
    cumulative = z < 0.0f ? tail : 1.0f - tail;
  }
  static Floats value(Floats y) {
    Floats cumulative, bell;
    parts(y, cumulative, bell);
    return y * cumulative;
  }
  static void value_and_slope(Floats y, Floats& value, Floats& slope) {
    Floats cumulative, bell;
    parts(y, cumulative, bell);
    value = y * cumulative;
    slope = cumulative + y * bell * 0.39894228f;  // 1 / sqrt(2 pi)
  }
};

struct Shape {
  int64_t images, height, width, channels;
  int64_t out_height, out_width;
  int64_t size, stride, padding;  // of the pooling windows; padding before the first row and column
  float epsilon;
};

struct Moments {
  Floats mean, inverse;  // of the standard deviation; the same in every lane
};

inline Floats inverse_root(float x) { return all(1.0f / __builtin_sqrtf(x)); }

// Of V vectors at `at`, two passes as the plain composition has it.
template <int V, class T>
inline Moments pixel_moments(const T* at, float epsilon, Floats (&x)[V]) {
  Floats total{};
  for (int v = 0; v < V; v++) {
    x[v] = load(at + v * LANES);
    total += x[v];
  }
  constexpr float share = 1.0f / (V * LANES);
  const Floats mean = sums(total) * share;
  Floats squares{};
  for (int v = 0; v < V; v++) {
    Floats centred = x[v] - mean;
    squares += centred * centred;
  }
  return {mean, inverse_root(sum(squares) * share + epsilon)};
}

template <class T>
Moments image_moments(const T* image, int64_t count, float epsilon) {
  // Sums of rows of 4096 in double: a float's own error would grow with the image.
  double total = 0, squares = 0;
  constexpr int64_t ROW = 4096;
  for (int64_t i = 0; i < count; i += ROW) {
    Floats part{};
    for (int64_t j = i; j < i + ROW && j < count; j += LANES) part += load(image + j);
    total += sum(part);
  }
  const Floats mean = all(float(total / double(count)));
  for (int64_t i = 0; i < count; i += ROW) {
    Floats part{};
    for (int64_t j = i; j < i + ROW && j < count; j += LANES) {
      Floats centred = load(image + j) - mean;
      part += centred * centred;
    }
    squares += sum(part);
  }
  return {mean, inverse_root(float(squares / double(count)) + epsilon)};
}

struct PixelNorm {
  static constexpr bool per_image = false;
  using Gelu = TanhGelu;
};
struct ImageNorm {
  static constexpr bool per_image = true;
  using Gelu = ExactGelu;
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

// One pixel of one branch, normed: x becomes (x - mean) / deviation.
template <int V, class Norm, class T>
inline Moments normed(const T* at, const Moments& of_image, float epsilon, Floats (&x)[V]) {
  Moments m = of_image;
  if constexpr (Norm::per_image) {
    for (int v = 0; v < V; v++) x[v] = load(at + v * LANES);
  } else {
    m = pixel_moments<V>(at, epsilon, x);
  }
  for (int v = 0; v < V; v++) x[v] = (x[v] - m.mean) * m.inverse;
  return m;
}

template <int V, class Norm, class T>
void forward_image(const Shape& s, const T* a, const T* b, const Affine<V>& of_a, const Affine<V>& of_b, T* out,
                   uint8_t* argmax, float* rows) {
  using Gelu = typename Norm::Gelu;
  const int64_t C = s.channels, row = s.width * C;
  Moments image_a{}, image_b{};
  if constexpr (Norm::per_image) {
    image_a = image_moments(a, s.height * row, s.epsilon);
    image_b = image_moments(b, s.height * row, s.epsilon);
  }
  int64_t computed = 0;  // rows of the product that `rows`, a ring of s.size, has held so far
  for (int64_t oy = 0; oy < s.out_height; oy++) {
    const int64_t top = oy * s.stride - s.padding;
    const int64_t bottom = top + s.size < s.height ? top + s.size : s.height;
    for (; computed < bottom; computed++) {
      const T *at_a = a + computed * row, *at_b = b + computed * row;
      float* products = rows + (computed % s.size) * row;
      for (int64_t i = 0; i < row; i += C) {
        Floats xa[V], xb[V];
        normed<V, Norm>(at_a + i, image_a, s.epsilon, xa);
        normed<V, Norm>(at_b + i, image_b, s.epsilon, xb);
        for (int v = 0; v < V; v++) {
          Floats ya = Gelu::value(xa[v] * of_a.scale[v] + of_a.bias[v]);
          Floats yb = Gelu::value(xb[v] * of_b.scale[v] + of_b.bias[v]);
          store(products + i + v * LANES, ya * yb);
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
}

// Gradient of the product at row y: what the windows over it send to each pixel.
template <int V, class T>
void scatter_row(const Shape& s, int64_t y, const T* gradient, const uint8_t* argmax, float* to) {
  const int64_t C = s.channels;
  std::memset(to, 0, sizeof(float) * s.width * C);
  int64_t first = (y + s.padding - s.size + s.stride) / s.stride;  // ceiling of (y + padding - size + 1) / stride
  if (y + s.padding - s.size + 1 <= 0) first = 0;
  for (int64_t oy = first; oy < s.out_height; oy++) {
    const int64_t dy = y + s.padding - oy * s.stride;
    if (dy < 0) break;
    for (int64_t ox = 0; ox < s.out_width; ox++) {
      const int64_t left = ox * s.stride - s.padding;
      for (int v = 0; v < V; v++) {
        const int64_t from = (oy * s.out_width + ox) * C + v * LANES;
        Bytes bytes;
        std::memcpy(&bytes, argmax + from, sizeof bytes);
        Ints where = __builtin_convertvector(bytes, Ints) - int32_t(dy * s.size);
        Floats sent = load(gradient + from);
        for (int64_t dx = 0; dx < s.size; dx++) {
          const int64_t x = left + dx;
          if (x < 0 || x >= s.width) continue;
          float* at = to + x * C + v * LANES;
          store(at, load(at) + (where == int32_t(dx) ? sent : Floats{}));
        }
      }
    }
  }
}

// parameter_sums: [4, C] of this image: d scale a, d bias a, d scale b, d bias b; untouched by the image norm.
template <int V, class Norm, class T>
void backward_image(const Shape& s, const T* a, const T* b, const Affine<V>& of_a, const Affine<V>& of_b,
                    const T* gradient, const uint8_t* argmax, T* grad_a, T* grad_b, float* parameter_sums, float* sent) {
  using Gelu = typename Norm::Gelu;
  const int64_t C = s.channels, row = s.width * C;
  Moments image_a{}, image_b{};
  if constexpr (Norm::per_image) {
    image_a = image_moments(a, s.height * row, s.epsilon);
    image_b = image_moments(b, s.height * row, s.epsilon);
  }
  Floats scale_a[V]{}, bias_a[V]{}, scale_b[V]{}, bias_b[V]{};
  // Of the whole image, for the image norm: means of the gradient at the normed values, and of it times those.
  Floats whole_a{}, along_a{}, whole_b{}, along_b{};

  for (int pass = Norm::per_image ? 0 : 1; pass < 2; pass++) {
    double sum_a = 0, dot_a = 0, sum_b = 0, dot_b = 0;
    for (int64_t y = 0; y < s.height; y++) {
      scatter_row<V>(s, y, gradient, argmax, sent);
      Floats row_sum_a{}, row_dot_a{}, row_sum_b{}, row_dot_b{};
      for (int64_t i = 0; i < row; i += C) {
        const int64_t at = y * row + i;
        Floats xa[V], xb[V], ga[V], gb[V];
        const Moments ma = normed<V, Norm>(a + at, image_a, s.epsilon, xa);
        const Moments mb = normed<V, Norm>(b + at, image_b, s.epsilon, xb);
        Floats pixel_sum_a{}, pixel_dot_a{}, pixel_sum_b{}, pixel_dot_b{};
        for (int v = 0; v < V; v++) {
          Floats value_a, slope_a, value_b, slope_b;
          Gelu::value_and_slope(xa[v] * of_a.scale[v] + of_a.bias[v], value_a, slope_a);
          Gelu::value_and_slope(xb[v] * of_b.scale[v] + of_b.bias[v], value_b, slope_b);
          const Floats came = load(sent + i + v * LANES);
          ga[v] = came * value_b * slope_a;
          gb[v] = came * value_a * slope_b;
          if constexpr (!Norm::per_image) {
            scale_a[v] += ga[v] * xa[v];
            bias_a[v] += ga[v];
            scale_b[v] += gb[v] * xb[v];
            bias_b[v] += gb[v];
          }
          ga[v] *= of_a.scale[v];
          gb[v] *= of_b.scale[v];
          pixel_sum_a += ga[v];
          pixel_dot_a += ga[v] * xa[v];
          pixel_sum_b += gb[v];
          pixel_dot_b += gb[v] * xb[v];
        }
        if constexpr (Norm::per_image) {
          if (pass == 0) {
            row_sum_a += pixel_sum_a;
            row_dot_a += pixel_dot_a;
            row_sum_b += pixel_sum_b;
            row_dot_b += pixel_dot_b;
            continue;
          }
        } else {
          constexpr float share = 1.0f / (V * LANES);
          whole_a = sums(pixel_sum_a) * share;
          along_a = sums(pixel_dot_a) * share;
          whole_b = sums(pixel_sum_b) * share;
          along_b = sums(pixel_dot_b) * share;
        }
        for (int v = 0; v < V; v++) {
          store(grad_a + at + v * LANES, ma.inverse * (ga[v] - whole_a - xa[v] * along_a));
          store(grad_b + at + v * LANES, mb.inverse * (gb[v] - whole_b - xb[v] * along_b));
        }
      }
      if constexpr (Norm::per_image) {
        sum_a += sum(row_sum_a);
        dot_a += sum(row_dot_a);
        sum_b += sum(row_sum_b);
        dot_b += sum(row_dot_b);
      }
    }
    if constexpr (Norm::per_image) {
      const double count = double(s.height * row);
      whole_a = all(float(sum_a / count));
      along_a = all(float(dot_a / count));
      whole_b = all(float(sum_b / count));
      along_b = all(float(dot_b / count));
    }
  }
  if constexpr (!Norm::per_image) {
    for (int v = 0; v < V; v++) {
      store(parameter_sums + v * LANES, scale_a[v]);
      store(parameter_sums + C + v * LANES, bias_a[v]);
      store(parameter_sums + 2 * C + v * LANES, scale_b[v]);
      store(parameter_sums + 3 * C + v * LANES, bias_b[v]);
    }
  }
}

template <int V, class Norm, class T>
void forward(const Shape& s, const void* a, const void* b, const float* const* affine, void* out, uint8_t* argmax,
             int threads) {
  const int64_t in = s.height * s.width * s.channels, pooled = s.out_height * s.out_width * s.channels;
  const Affine<V> of_a(affine[0], affine[1]), of_b(affine[2], affine[3]);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<float> rows(s.size * s.width * s.channels);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < s.images; n++)
      forward_image<V, Norm>(s, (const T*)a + n * in, (const T*)b + n * in, of_a, of_b, (T*)out + n * pooled,
                             argmax ? argmax + n * pooled : nullptr, rows.data());
  }
}

template <int V, class Norm, class T>
void backward(const Shape& s, const void* a, const void* b, const float* const* affine, const void* gradient,
              const uint8_t* argmax, void* grad_a, void* grad_b, float* sums, int threads) {
  const int64_t in = s.height * s.width * s.channels, pooled = s.out_height * s.out_width * s.channels;
  const Affine<V> of_a(affine[0], affine[1]), of_b(affine[2], affine[3]);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<float> sent(s.width * s.channels);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < s.images; n++)
      backward_image<V, Norm>(s, (const T*)a + n * in, (const T*)b + n * in, of_a, of_b,
                              (const T*)gradient + n * pooled, argmax + n * pooled, (T*)grad_a + n * in,
                              (T*)grad_b + n * in, sums ? sums + n * 4 * s.channels : nullptr, sent.data());
  }
}

// Calls `what`<V, Norm, T>(...) for the number of channels, the norm and the type at hand; 1 if there is none such.
#define DISPATCH(what, ...)                                                                  \
  do {                                                                                       \
    if (s.channels == 32) return per_norm<2>(image_norm, is_bfloat16, [&](auto v, auto norm, auto type) {          \
      what<decltype(v)::value, decltype(norm), decltype(type)>(s, __VA_ARGS__);              \
    });                                                                                      \
    if (s.channels == 64) return per_norm<4>(image_norm, is_bfloat16, [&](auto v, auto norm, auto type) {          \
      what<decltype(v)::value, decltype(norm), decltype(type)>(s, __VA_ARGS__);              \
    });                                                                                      \
    return 1;                                                                                \
  } while (0)

template <int V>
struct Count {
  static constexpr int value = V;
};

template <int V, class Call>
int per_norm(bool image_norm, bool is_bfloat16, Call call) {
  if (image_norm && is_bfloat16) call(Count<V>{}, ImageNorm{}, BFloat16{});
  else if (image_norm) call(Count<V>{}, ImageNorm{}, float{});
  else if (is_bfloat16) call(Count<V>{}, PixelNorm{}, BFloat16{});
  else call(Count<V>{}, PixelNorm{}, float{});
  return 0;
}

}  // namespace

extern "C" {

// shape: images, height, width, channels, pooled height, pooled width, window size, stride, padding.
// affine: scale a, bias a, scale b, bias b, each [channels] or null. argmax may be null where no gradient is wanted.
// Returns 0, or 1 for a number of channels there is no code for.

int hadamax_forward(const int64_t* shape, float epsilon, int image_norm, int is_bfloat16, int threads, const void* a,
                    const void* b, const float* const* affine, void* out, uint8_t* argmax) {
  const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], shape[7], shape[8], epsilon};
  DISPATCH(forward, a, b, affine, out, argmax, threads);
}

int hadamax_backward(const int64_t* shape, float epsilon, int image_norm, int is_bfloat16, int threads, const void* a,
                     const void* b, const float* const* affine, const void* gradient, const uint8_t* argmax,
                     void* grad_a, void* grad_b, float* sums) {
  const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], shape[7], shape[8], epsilon};
  DISPATCH(backward, a, b, affine, gradient, argmax, grad_a, grad_b, sums, threads);
}
}
