// The later convolutions of Hadamax at stride 1 by Fourier transforms, and their gradients: 4 x 4 windows over 24 x 24
// pixels, 3 x 3 over 12 x 12. An image is one tile; what the sums are is told in fourier_convolution.cpp. Here most of the
// work is, at every frequency, a product of a matrix of images and channels with one of weights.
//
// Transforms go round in a circle: a window that reaches over the last row goes on at the first. Where that is padding,
// all zeros, it stands for the padding behind the last row too, and there is one more output a row than windows fit.
//
// Images are [B, N, N, I], outputs [B, side, side, C], float or bfloat16; all arithmetic is float. Work is divided by
// images, never by threads, so that results do not depend on the number of threads.

#include "transforms.h"

namespace {

constexpr int IMAGES = 8;   // that are worked at together: weights are read once for all of them
constexpr int CHUNK = 8;    // groups of images that add their weight gradients up before others are added to them
constexpr int AT_ONCE = 4;  // images, or channels, whose sums are in registers

struct Shape {
  int64_t images, inputs, channels, branches;  // channels are those of one branch
  int64_t side;                                // of an output
  int64_t groups() const { return (images + IMAGES - 1) / IMAGES; }
  int64_t in_group(int64_t group) const { return std::min<int64_t>(IMAGES, images - group * IMAGES); }
  int64_t blocks() const { return blocks_of(channels); }
  static int64_t blocks_of(int64_t channels) { return channels / (2 * W); }  // a pair of channels a lane
};

// K x K windows over images of N x N.
template <int N, int K>
struct Convolution {
  static constexpr int HALF = N / 2 + 1;  // columns of a real image's transform; the others are their conjugates
  static constexpr int MOST = N - K + 2;  // outputs in a row
  static constexpr float SCALE = 1.0f / (N * N);

  // Half spectra of a group of images: frequencies [column < HALF][row], then [image][channel].
  class Spectra {
   public:
    explicit Spectra(int64_t channels)
        : channels_(channels), values_(new float[2 * HALF * N * IMAGES * channels]()) {}
    float* re(int kx, int ky) const { return &values_[2 * (kx * N + ky) * IMAGES * channels_]; }
    float* im(int kx, int ky) const { return re(kx, ky) + IMAGES * channels_; }
    int64_t channels() const { return channels_; }

   private:
    int64_t channels_;
    std::unique_ptr<float[]> values_;
  };

  // Spectra of weights, or sums of them: of every block of pairs, frequencies [column][row], then what is summed over.
  class Weights {
   public:
    Weights(int64_t blocks, int64_t summed) : summed_(summed), values_(new Complex[blocks * N * N * summed]) {}
    Complex* at(int64_t block, int kx, int ky) const { return &values_[((block * N + kx) * N + ky) * summed_]; }
    int64_t summed() const { return summed_; }

   private:
    int64_t summed_;
    std::unique_ptr<Complex[]> values_;
  };

  struct Scratch {
    Complex half[N * HALF];
    Complex rows[IMAGES * N * N];
    Complex column[IMAGES][N];
  };

  // SIGN -1 transforms of `count` real images [side, side, channels]; they become channels `offset` and on of `to`.
  template <class T>
  static void transform_images(const T* images, int64_t side, int64_t channels, int64_t count, int64_t offset,
                               Scratch& scratch, const Spectra& to) {
    for (int64_t t = 0; t < count; t++)
      for (int64_t v = 0; v < channels; v += W) {
        const T* from = images + t * side * side * channels + v;
        for (int y = 0; y < side; y++)
          transform<N, -1, HALF>(
              [&](int x) { return Complex{x < side ? load(from + (y * side + x) * channels) : Floats{}, Floats{}}; },
              [&](int kx, Complex value) { scratch.half[kx * N + y] = value; });
        for (int kx = 0; kx < HALF; kx++)
          transform<N, -1, N>([&](int y) { return y < side ? scratch.half[kx * N + y] : Complex{}; },
                              [&](int ky, Complex value) {
                                const int64_t lane = t * to.channels() + offset + v;
                                store(to.re(kx, ky) + lane, value.re);
                                store(to.im(kx, ky) + lane, value.im);
                              });
      }
  }

  // What a frequency of the full spectrum is in the half one: its conjugate from column HALF on.
  struct Place {
    int kx, ky;
    bool conjugate;
    Place(int x, int y) : kx(x < HALF ? x : N - x), ky(x < HALF ? y : (N - y) % N), conjugate(x >= HALF) {}
  };

  // At one frequency, of one block of pairs: sums over the channels [image][summed] times weights, to column[image][ky].
  template <bool CONJUGATE>
  static void sum_up(const float* re, const float* im, const Complex* weights, int64_t summed, int64_t count, int ky,
                     Scratch& scratch) {
    for (int64_t first = 0; first < count; first += AT_ONCE) {
      Complex sums[AT_ONCE]{};
      const float *re_of = re + first * summed, *im_of = im + first * summed;
      for (int64_t i = 0; i < summed; i++) {
        const Complex w = weights[i];
#pragma GCC unroll 4
        for (int t = 0; t < AT_ONCE; t++) {
          const float x = re_of[t * summed + i], y = im_of[t * summed + i];
          sums[t].re += x * w.re;
          sums[t].im += x * w.im;
          if constexpr (CONJUGATE) {
            sums[t].re += y * w.im;
            sums[t].im -= y * w.re;
          } else {
            sums[t].re -= y * w.im;
            sums[t].im += y * w.re;
          }
        }
      }
      for (int t = 0; t < AT_ONCE; t++) scratch.column[first + t][ky] = sums[t];
    }
  }

  // Of one block of pairs: sums over the channels of `spectra` times weights, transformed back: to(image, y, x, pairs)
  // for y and x below `side`, which is at most OUT.
  template <int OUT, class To>
  static void multiply(const Spectra& spectra, const Weights& weights, int64_t block, int64_t count, int64_t side,
                       Scratch& scratch, To to) {
    const int64_t summed = spectra.channels();
    for (int kx = 0; kx < N; kx++) {
      for (int ky = 0; ky < N; ky++) {
        const Place place(kx, ky);
        const float *re = spectra.re(place.kx, place.ky), *im = spectra.im(place.kx, place.ky);
        (place.conjugate ? sum_up<true> : sum_up<false>)(re, im, weights.at(block, kx, ky), summed, count, ky, scratch);
      }
      for (int64_t t = 0; t < count; t++)
        transform<N, 1, OUT>([&](int ky) { return scratch.column[t][ky]; },
                             [&](int y, Complex value) { scratch.rows[(t * OUT + y) * N + kx] = value; });
    }
    for (int64_t t = 0; t < count; t++)
      for (int y = 0; y < side; y++) {
        const Complex* row = scratch.rows + (t * OUT + y) * N;
        transform<N, 1, OUT>([&](int kx) { return row[kx]; },
                             [&](int x, Complex value) {
                               if (x < side) to(t, y, x, value);
                             });
      }
  }

  // SIGN transforms of windows [K, K] of pairs: from(y, x) gives them, to(kx, ky, ...) takes them.
  template <int SIGN, class From, class To>
  static void transform_window(From from, To to) {
    Complex rows[K][N];
    for (int y = 0; y < K; y++)
      transform<N, SIGN, N>([&](int x) { return x < K ? from(y, x) : Complex{}; },
                            [&](int kx, Complex value) { rows[y][kx] = value; });
    for (int kx = 0; kx < N; kx++)
      transform<N, SIGN, N>([&](int y) { return y < K ? rows[y][kx] : Complex{}; },
                            [&](int ky, Complex value) { to(kx, ky, value); });
  }

  // Forward -----------------------------------------------------------------------------------------------------------

  template <class T>
  static void forward(const Shape& s, const T* images, const float* const* weights, const float* const* biases,
                      T* const* outs, int threads) {
    const int64_t blocks = s.blocks(), all = s.branches * blocks, C = s.channels;
    const Weights spectra(all, s.inputs);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      std::unique_ptr<Scratch> scratch(new Scratch);
      const Spectra transformed(s.inputs);
#pragma omp for schedule(static)
      for (int64_t i = 0; i < all * s.inputs; i++) {
        const int64_t block = i / s.inputs, input = i % s.inputs;
        const float* of = weights[block / blocks] + (block % blocks * 2 * W * s.inputs + input) * K * K;
        transform_window<1>(
            [&](int y, int x) {
              Complex pairs;
              for (int lane = 0; lane < W; lane++) {
                pairs.re[lane] = of[lane * s.inputs * K * K + y * K + x] * SCALE;
                pairs.im[lane] = of[(lane + W) * s.inputs * K * K + y * K + x] * SCALE;
              }
              return pairs;
            },
            [&](int kx, int ky, Complex value) { spectra.at(block, kx, ky)[input] = value; });
      }
#pragma omp for schedule(static)
      for (int64_t group = 0; group < s.groups(); group++) {
        const int64_t first = group * IMAGES, count = s.in_group(group);
        transform_images(images + first * N * N * s.inputs, N, s.inputs, count, 0, *scratch, transformed);
        for (int64_t block = 0; block < all; block++) {
          const int64_t channel = block % blocks * 2 * W;
          const float* bias = biases[block / blocks] + channel;
          const Floats bias_re = load(bias), bias_im = load(bias + W);
          T* out = outs[block / blocks] + first * s.side * s.side * C + channel;
          multiply<MOST>(transformed, spectra, block, count, s.side, *scratch,
                         [&](int64_t t, int y, int x, Complex value) {
                           T* to = out + ((t * s.side + y) * s.side + x) * C;
                           store(to, value.re + bias_re);
                           store(to + W, value.im + bias_im);
                         });
        }
      }
    }
  }

  // Backward ----------------------------------------------------------------------------------------------------------

  // Adds a group's part of the gradient of a block's weights, as frequencies, and of its biases.
  template <class T>
  static void add_weights(const Shape& s, const Spectra& spectra, const T* gradient, int64_t count, int64_t block,
                          Scratch& scratch, const Weights& sums, Complex& bias_sum) {
    Complex* rows = scratch.rows;  // [image][column][row]
    const int64_t C = s.channels, side = s.side, summed = spectra.channels();
    for (int64_t t = 0; t < count; t++)
      for (int y = 0; y < side; y++) {
        const T* from = gradient + (t * side + y) * side * C;
        transform<N, 1, N>(
            [&](int x) { return x < side ? Complex{load(from + x * C), load(from + x * C + W)} : Complex{}; },
            [&](int kx, Complex value) { rows[(t * N + kx) * MOST + y] = value; });
      }
    for (int kx = 0; kx < N; kx++) {
      for (int64_t t = 0; t < count; t++)
        transform<N, 1, N>([&](int y) { return y < side ? rows[(t * N + kx) * MOST + y] : Complex{}; },
                           [&](int ky, Complex value) { scratch.column[t][ky] = value; });
      if (kx == 0)
        for (int64_t t = 0; t < count; t++) bias_sum = bias_sum + scratch.column[t][0];
      for (int ky = 0; ky < N; ky++) {
        const Place place(kx, ky);
        const float *re = spectra.re(place.kx, place.ky), *im = spectra.im(place.kx, place.ky);
        const float sign = place.conjugate ? -1.0f : 1.0f;
        Complex* sum = sums.at(block, kx, ky);
        for (int64_t first = 0; first < summed; first += AT_ONCE) {
          Complex of[AT_ONCE];
#pragma GCC unroll 4
          for (int i = 0; i < AT_ONCE; i++) of[i] = sum[first + i];
          for (int64_t t = 0; t < count; t++) {
            const Complex q = scratch.column[t][ky];
            const Floats q_re = q.re * sign, q_im = q.im * sign;
            const float *re_of = re + t * summed + first, *im_of = im + t * summed + first;
#pragma GCC unroll 4
            for (int i = 0; i < AT_ONCE; i++) {
              of[i].re = of[i].re + re_of[i] * q.re - im_of[i] * q_im;
              of[i].im = of[i].im + re_of[i] * q.im + im_of[i] * q_re;
            }
          }
#pragma GCC unroll 4
          for (int i = 0; i < AT_ONCE; i++) sum[first + i] = of[i];
        }
      }
    }
  }

  // From frequencies to the gradient [C, I, K, K] of a branch's weights.
  static void weights_from(const Weights& sums, int64_t block, int64_t input, int64_t channel, float* to) {
    Complex rows[K][N];
    for (int kx = 0; kx < N; kx++)
      transform<N, 1, K>([&](int ky) { return sums.at(block, kx, ky)[input]; },
                         [&](int y, Complex value) { rows[y][kx] = value; });
    for (int y = 0; y < K; y++)
      transform<N, 1, K>([&](int kx) { return rows[y][kx]; },
                         [&](int x, Complex value) {
                           for (int lane = 0; lane < W; lane++) {
                             float* at = to + ((channel + lane) * sums.summed() + input) * K * K + y * K + x;
                             at[0] = value.re[lane] * SCALE;
                             at[W * sums.summed() * K * K] = value.im[lane] * SCALE;
                           }
                         });
  }

  template <class T>
  static void backward_weights(const Shape& s, const T* images, const T* const* gradients, float* const* weights,
                               float* const* biases, int threads) {
    const int64_t blocks = s.blocks(), all = s.branches * blocks, C = s.channels;
    const int64_t chunks = (s.groups() + CHUNK - 1) / CHUNK;
    std::vector<Weights> sums;
    for (int64_t chunk = 0; chunk < chunks; chunk++) sums.emplace_back(all, s.inputs);
    std::unique_ptr<Complex[]> bias_sums(new Complex[chunks * all]());
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      std::unique_ptr<Scratch> scratch(new Scratch);
      const Spectra transformed(s.inputs);
#pragma omp for schedule(static)
      for (int64_t chunk = 0; chunk < chunks; chunk++) {
        std::memset((void*)sums[chunk].at(0, 0, 0), 0, all * N * N * s.inputs * sizeof(Complex));
        for (int64_t group = chunk * CHUNK; group < std::min(s.groups(), (chunk + 1) * CHUNK); group++) {
          const int64_t first = group * IMAGES, count = s.in_group(group);
          transform_images(images + first * N * N * s.inputs, N, s.inputs, count, 0, *scratch, transformed);
          for (int64_t block = 0; block < all; block++) {
            const T* gradient = gradients[block / blocks] + first * s.side * s.side * C + block % blocks * 2 * W;
            add_weights(s, transformed, gradient, count, block, *scratch, sums[chunk], bias_sums[chunk * all + block]);
          }
        }
      }
#pragma omp for schedule(static)
      for (int64_t column = 0; column < all * N; column++) {
        float* to = (float*)sums[0].at(column / N, column % N, 0);
        for (int64_t chunk = 1; chunk < chunks; chunk++) {
          const float* from = (const float*)sums[chunk].at(column / N, column % N, 0);
          for (size_t j = 0; j < N * s.inputs * sizeof(Complex) / sizeof(float); j++) to[j] += from[j];
        }
      }
#pragma omp for schedule(static)
      for (int64_t i = 0; i < all * s.inputs; i++) {
        const int64_t block = i / s.inputs;
        weights_from(sums[0], block, i % s.inputs, block % blocks * 2 * W, weights[block / blocks]);
      }
    }
    add_up_biases(bias_sums.get(), chunks, all, blocks, biases);
  }

  // An image's gradient is the convolution, turned around, of what all channels of all branches send back.
  template <class T>
  static void backward_images(const Shape& s, const T* const* gradients, const float* const* weights, T* to_images,
                              int threads) {
    const int64_t blocks = Shape::blocks_of(s.inputs), sent = s.branches * s.channels, I = s.inputs;
    const Weights spectra(blocks, sent);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      std::unique_ptr<Scratch> scratch(new Scratch);
      const Spectra transformed(sent);
#pragma omp for schedule(static)
      for (int64_t i = 0; i < blocks * sent; i++) {
        const int64_t block = i / sent, channel = i % sent;
        const float* of = weights[channel / s.channels] + (channel % s.channels * I + block * 2 * W) * K * K;
        transform_window<-1>(
            [&](int y, int x) {
              Complex pairs;
              for (int lane = 0; lane < W; lane++) {
                pairs.re[lane] = of[lane * K * K + y * K + x] * SCALE;
                pairs.im[lane] = of[(lane + W) * K * K + y * K + x] * SCALE;
              }
              return pairs;
            },
            [&](int kx, int ky, Complex value) { spectra.at(block, kx, ky)[channel] = value; });
      }
#pragma omp for schedule(static)
      for (int64_t group = 0; group < s.groups(); group++) {
        const int64_t first = group * IMAGES, count = s.in_group(group);
        for (int64_t branch = 0; branch < s.branches; branch++)
          transform_images(gradients[branch] + first * s.side * s.side * s.channels, s.side, s.channels, count,
                           branch * s.channels, *scratch, transformed);
        for (int64_t block = 0; block < blocks; block++) {
          T* images = to_images + first * N * N * I + block * 2 * W;
          multiply<N>(transformed, spectra, block, count, N, *scratch, [&](int64_t t, int y, int x, Complex value) {
            T* to = images + ((t * N + y) * N + x) * I;
            store(to, value.re);
            store(to + W, value.im);
          });
        }
      }
    }
  }
};

template <int N, int K, class T>
void forward(const Shape& s, const void* images, const float* const* weights, const float* const* biases,
             void* const* outs, int threads) {
  Convolution<N, K>::forward(s, (const T*)images, weights, biases, (T* const*)outs, threads);
}

template <int N, int K, class T>
void backward(const Shape& s, const void* images, const void* const* gradients, const float* const* weights,
              float* const* to_weights, float* const* to_biases, void* to_images, int threads) {
  const auto typed = (const T* const*)gradients;
  Convolution<N, K>::backward_weights(s, (const T*)images, typed, to_weights, to_biases, threads);
  if (to_images) Convolution<N, K>::backward_images(s, typed, weights, (T*)to_images, threads);
}

}  // namespace

// shape: K, images, channels of an image, channels of a branch, branches, side of an output: N - K + 1, or one more of
// images that begin with a row and a column of zeros. N is 24 for K = 4, 12 for K = 3. Pointers a branch: weights
// [C, I, K, K] and biases [C] float; outputs and their gradients [B, side, side, C] in the type of the images. to_images
// may be null.
extern "C" {

void fourier_images_forward(const int64_t* shape, int coarse, int threads, const void* images,
                            const float* const* weights, const float* const* biases, void* const* outs) {
  const Shape s{shape[1], shape[2], shape[3], shape[4], shape[5]};
  auto* of = shape[0] == 4 ? (coarse ? forward<24, 4, BFloat16> : forward<24, 4, float>)
                           : (coarse ? forward<12, 3, BFloat16> : forward<12, 3, float>);
  of(s, images, weights, biases, outs, threads);
}

void fourier_images_backward(const int64_t* shape, int coarse, int threads, const void* images,
                             const void* const* gradients, const float* const* weights, float* const* to_weights,
                             float* const* to_biases, void* to_images) {
  const Shape s{shape[1], shape[2], shape[3], shape[4], shape[5]};
  auto* of = shape[0] == 4 ? (coarse ? backward<24, 4, BFloat16> : backward<24, 4, float>)
                           : (coarse ? backward<12, 3, BFloat16> : backward<12, 3, float>);
  of(s, images, gradients, weights, to_weights, to_biases, to_images, threads);
}
}
