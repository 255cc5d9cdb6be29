// PQN's encoder between its convolutions, each in one pass over memory: bytes to scaled numbers, and LayerNorm over the
// last axis with ReLU, with its gradient.
//
// Rows are [R, C], C as `of_width` has it, float or bfloat16; all arithmetic is float. Sums over rows run
// over runs of RUN rows first, so that results do not depend on the number of threads.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace {

constexpr int64_t RUN = 2048;

// A row of V vectors to mean 0 and variance 1; the inverse deviation.
template <int V, class T>
inline float normed(const T* row, float epsilon, Floats (&x)[V]) {
  constexpr float share = 1.0f / (V * LANES);
  Floats total{};
  for (int v = 0; v < V; v++) {
    x[v] = load(row + v * LANES);
    total += x[v];
  }
  const Floats mean = all(sum(total) * share);
  Floats squares{};
  for (int v = 0; v < V; v++) {
    x[v] -= mean;
    squares += x[v] * x[v];
  }
  const float inverse = 1.0f / __builtin_sqrtf(sum(squares) * share + epsilon);
  for (int v = 0; v < V; v++) x[v] *= inverse;
  return inverse;
}

template <int V, class T>
void forward_rows(const T* rows, int64_t count, const float* scale, const float* bias, float epsilon, T* out) {
  for (int64_t r = 0; r < count; r++, rows += V * LANES, out += V * LANES) {
    Floats x[V];
    normed<V>(rows, epsilon, x);
    for (int v = 0; v < V; v++) {
      const Floats y = x[v] * load(scale + v * LANES) + load(bias + v * LANES);
      store(out + v * LANES, y <= 0.0f ? Floats{} : y);
    }
  }
}

// sums: [2, C], of the gradients of scale and bias.
template <int V, class T>
void backward_rows(const T* rows, const T* gradient, int64_t count, const float* scale, const float* bias,
                   float epsilon, T* to, float* sums) {
  constexpr float share = 1.0f / (V * LANES);
  std::fill_n(sums, 2 * V * LANES, 0.0f);
  for (int64_t r = 0; r < count; r++, rows += V * LANES, gradient += V * LANES, to += V * LANES) {
    Floats x[V], came[V], total{}, along{};
    const float inverse = normed<V>(rows, epsilon, x);
    for (int v = 0; v < V; v++) {
      const Floats y = x[v] * load(scale + v * LANES) + load(bias + v * LANES), g = load(gradient + v * LANES);
      came[v] = y <= 0.0f ? Floats{} : g;
      store(sums + v * LANES, load(sums + v * LANES) + came[v] * x[v]);
      store(sums + (V + v) * LANES, load(sums + (V + v) * LANES) + came[v]);
      came[v] *= load(scale + v * LANES);
      total += came[v];
      along += came[v] * x[v];
    }
    const Floats mean = all(sum(total) * share), slope = all(sum(along) * share);
    for (int v = 0; v < V; v++) store(to + v * LANES, (came[v] - mean - x[v] * slope) * inverse);
  }
}

// Calls `call`(Count<V>) for rows of C numbers; false if there is no code for them.
template <int V>
struct Count {
  static constexpr int value = V;
};

template <class Call>
bool of_width(int64_t channels, Call call) {
  if (channels == 32) return call(Count<32 / LANES>{}), true;
  if (channels == 64) return call(Count<64 / LANES>{}), true;
  if (channels == 128) return call(Count<128 / LANES>{}), true;
  if (channels == 512) return call(Count<512 / LANES>{}), true;
  return false;
}

template <class T>
int forward(int64_t rows, int64_t channels, float epsilon, int threads, const T* x, const float* scale,
            const float* bias, T* out) {
  return !of_width(channels, [&](auto v) {
    const int64_t runs = (rows + RUN - 1) / RUN;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t run = 0; run < runs; run++) {
      const int64_t first = run * RUN;
      forward_rows<decltype(v)::value>(x + first * channels, std::min(RUN, rows - first), scale, bias, epsilon,
                                       out + first * channels);
    }
  });
}

// sums: [runs, 2, C]
template <class T>
int backward(int64_t rows, int64_t channels, float epsilon, int threads, const T* x, const float* scale,
             const float* bias, const T* gradient, T* to, float* sums) {
  return !of_width(channels, [&](auto v) {
    const int64_t runs = (rows + RUN - 1) / RUN;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t run = 0; run < runs; run++) {
      const int64_t first = run * RUN;
      backward_rows<decltype(v)::value>(x + first * channels, gradient + first * channels,
                                        std::min(RUN, rows - first), scale, bias, epsilon, to + first * channels,
                                        sums + run * 2 * channels);
    }
  });
}

// [4, plane] bytes of an image to [plane, 4] numbers from 0 to 1.
template <class T>
void scale_image(const uint8_t* bytes, int64_t plane, T* out) {
  constexpr int PIXELS = LANES / 4;
  int64_t p = 0;
  for (; p + PIXELS <= plane; p += PIXELS) {
    float values[LANES];
    for (int i = 0; i < PIXELS; i++)
      for (int f = 0; f < 4; f++) values[i * 4 + f] = float(bytes[f * plane + p + i]);
    store(out + p * 4, load(values) / 255.0f);
  }
  for (; p < plane; p++) {
    float values[LANES] = {};
    T scaled[LANES];
    for (int f = 0; f < 4; f++) values[f] = float(bytes[f * plane + p]);
    store(scaled, load(values) / 255.0f);
    std::memcpy(out + p * 4, scaled, 4 * sizeof(T));
  }
}

template <class T>
void scale_images(const uint8_t* bytes, int64_t images, int64_t plane, int threads, T* out) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t n = 0; n < images; n++) scale_image(bytes + n * plane * 4, plane, out + n * plane * 4);
}

}  // namespace

// Each returns 0, or 1 for a number of channels there is no code for.
extern "C" {

int64_t norm_relu_runs(int64_t rows) { return (rows + RUN - 1) / RUN; }

int norm_relu_forward(int64_t rows, int64_t channels, float epsilon, int coarse, int threads, const void* x,
                      const float* scale, const float* bias, void* out) {
  if (coarse)
    return forward(rows, channels, epsilon, threads, (const BFloat16*)x, scale, bias, (BFloat16*)out);
  return forward(rows, channels, epsilon, threads, (const float*)x, scale, bias, (float*)out);
}

int norm_relu_backward(int64_t rows, int64_t channels, float epsilon, int coarse, int threads, const void* x,
                       const float* scale, const float* bias, const void* gradient, void* to, float* sums) {
  if (coarse)
    return backward(rows, channels, epsilon, threads, (const BFloat16*)x, scale, bias, (const BFloat16*)gradient,
                    (BFloat16*)to, sums);
  return backward(rows, channels, epsilon, threads, (const float*)x, scale, bias, (const float*)gradient, (float*)to,
                  sums);
}

void scaled_frames(const uint8_t* bytes, int64_t images, int64_t plane, int coarse, int threads, void* out) {
  if (coarse)
    scale_images(bytes, images, plane, threads, (BFloat16*)out);
  else
    scale_images(bytes, images, plane, threads, (float*)out);
}
}
