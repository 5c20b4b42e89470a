//! G.722 at 64 kbit/s: 16 kHz audio in two sub-bands, each coded by adaptive differences. Names and numbers
//! are those of the Recommendation.

/// Taps of each half of the quadrature mirror filters.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// Decision levels of the lower band's quantizer; index 0 is not used.
const Q6: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121,
    1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Inverse quantizers of the lower band with 6 and with 4 bits, and of the higher one.
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];
const QM4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
];
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
/// What each code does to the logarithm of the quantizer's scale.
const WL: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];
const WH: [i32; 4] = [798, -214, 798, -214];
/// Powers of two from 2048 to 4096 in 32 steps.
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
/// Decision level of the higher band's quantizer.
const HIGH_LEVEL: i32 = 564;

/// The parts in which the two sub-bands differ.
#[derive(Debug, Clone, Copy)]
struct Scale {
    most: i32,
    shift: i32,
}

const LOW: Scale = Scale {
    most: 18432,
    shift: 8,
};
const HIGH: Scale = Scale {
    most: 22528,
    shift: 10,
};

/// One sub-band: the scale of its quantizer and its predictor of two poles and six zeros.
#[derive(Debug, Clone)]
struct Band {
    scale: Scale,
    nb: i32,
    det: i32,
    /// The predicted sample, and the zeros' part of it.
    s: i32,
    sz: i32,
    /// Reconstructed and partly reconstructed samples, newest first.
    r: [i32; 2],
    p: [i32; 2],
    a: [i32; 2],
    d: [i32; 6],
    b: [i32; 6],
}

const fn saturate(value: i32) -> i32 {
    if value > 32_767 {
        32_767
    } else if value < -32_768 {
        -32_768
    } else {
        value
    }
}

impl Band {
    const fn new(scale: Scale, det: i32) -> Self {
        Self {
            scale,
            nb: 0,
            det,
            s: 0,
            sz: 0,
            r: [0; 2],
            p: [0; 2],
            a: [0; 2],
            d: [0; 6],
            b: [0; 6],
        }
    }

    const fn difference(&self, quantum: i32) -> i32 {
        (self.det * quantum) >> 15
    }

    /// Takes a quantized difference: adapts scale and predictor, and predicts the next sample.
    fn adapt(&mut self, weight: i32, d: i32) {
        self.nb = (((self.nb * 127) >> 7) + weight).clamp(0, self.scale.most);
        let mantissa = ILB[(self.nb >> 6 & 31) as usize];
        let exponent = self.scale.shift - (self.nb >> 11);
        self.det = if exponent < 0 {
            mantissa << (2 - exponent)
        } else {
            (mantissa >> exponent) << 2
        };
        let p = saturate(self.sz + d);
        self.adapt_poles(p);
        self.adapt_zeros(d);
        self.r = [saturate(self.s + d), self.r[0]];
        self.p = [p, self.p[0]];
        self.d.copy_within(..5, 1);
        self.d[0] = d;
        self.predict();
    }

    fn adapt_poles(&mut self, p: i32) {
        let [same, same_before] = [(p < 0) == (self.p[0] < 0), (p < 0) == (self.p[1] < 0)];
        let first = saturate(self.a[0] << 2);
        let second = if same { (-first).min(32_767) } else { first };
        let sign = if same_before { 128 } else { -128 };
        let second = ((second >> 7) + sign + ((self.a[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        let first = saturate(if same { 192 } else { -192 } + ((self.a[0] * 32_640) >> 15));
        let bound = saturate(15_360 - second);
        self.a = [first.clamp(-bound, bound), second];
    }

    fn adapt_zeros(&mut self, d: i32) {
        let step = if d == 0 { 0 } else { 128 };
        for (b, before) in self.b.iter_mut().zip(&self.d) {
            let towards = if (*before < 0) == (d < 0) { step } else { -step };
            *b = saturate(towards + ((*b * 32_640) >> 15));
        }
    }

    fn predict(&mut self) {
        let product = |coefficient: i32, sample: i32| (coefficient * saturate(sample + sample)) >> 15;
        let poles = saturate(product(self.a[0], self.r[0]) + product(self.a[1], self.r[1]));
        let zeros = self.b.iter().zip(&self.d).map(|(b, d)| product(*b, *d)).sum();
        self.sz = saturate(zeros);
        self.s = saturate(poles + self.sz);
    }
}

/// Both sub-bands and the memory of the filters that split or join them.
#[derive(Debug, Clone)]
struct State {
    low: Band,
    high: Band,
    x: [i32; 24],
}

impl State {
    const fn new() -> Self {
        Self {
            low: Band::new(LOW, 32),
            high: Band::new(HIGH, 8),
            x: [0; 24],
        }
    }

    /// Takes two samples into the filter; returns what its two halves give.
    fn filter(&mut self, one: i32, two: i32) -> (i32, i32) {
        self.x.copy_within(2.., 0);
        (self.x[22], self.x[23]) = (one, two);
        let (mut even, mut odd) = (0, 0);
        for (tap, pair) in self.x.chunks_exact(2).enumerate() {
            even += pair[0] * QMF[tap];
            odd += pair[1] * QMF[11 - tap];
        }
        (even, odd)
    }

    /// Takes a code into both bands.
    fn adapt(&mut self, low: usize, high: usize) {
        let d = self.low.difference(QM4[low >> 2]);
        self.low.adapt(WL[low >> 2], d);
        let d = self.high.difference(QM2[high]);
        self.high.adapt(WH[high], d);
    }
}

/// A sender's side. It can be copied: the copy goes on exactly where the original is.
#[derive(Debug, Clone)]
pub(crate) struct Encoder(State);

impl Encoder {
    pub(crate) const fn new() -> Self {
        Self(State::new())
    }

    /// Turns samples into codes, two into one; the shorter of the two decides how many.
    pub(crate) fn encode(&mut self, samples: &[i16], codes: &mut [u8]) {
        let state = &mut self.0;
        for (code, pair) in codes.iter_mut().zip(samples.chunks_exact(2)) {
            let (even, odd) = state.filter(i32::from(pair[0]), i32::from(pair[1]));
            let low = quantize_low(&state.low, (even + odd) >> 14);
            let high = quantize_high(&state.high, (odd - even) >> 14);
            state.adapt(low, high);
            *code = (high << 6 | low) as u8;
        }
    }
}

fn quantize_low(band: &Band, sample: i32) -> usize {
    let e = saturate(sample - band.s);
    let magnitude = if e < 0 { -(e + 1) } else { e };
    let level = Q6[1..]
        .iter()
        .take_while(|level| magnitude >= (*level * band.det) >> 12);
    let level = level.count() + 1;
    match (e < 0, level) {
        (true, 1..=2) => 64 - level,
        (true, _) => 34 - level,
        (false, _) => 62 - level,
    }
}

const fn quantize_high(band: &Band, sample: i32) -> usize {
    let e = saturate(sample - band.s);
    let magnitude = if e < 0 { -(e + 1) } else { e };
    let outer = magnitude >= (HIGH_LEVEL * band.det) >> 12;
    match (e < 0, outer) {
        (true, false) => 1,
        (true, true) => 0,
        (false, false) => 3,
        (false, true) => 2,
    }
}

/// A receiver's side.
#[derive(Debug, Clone)]
pub(crate) struct Decoder(State);

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self(State::new())
    }

    /// Turns codes into samples, one into two; the shorter of the two decides how many.
    pub(crate) fn decode(&mut self, codes: &[u8], samples: &mut [i16]) {
        let state = &mut self.0;
        for (code, pair) in codes.iter().zip(samples.chunks_exact_mut(2)) {
            let (low, high) = (usize::from(code & 63), usize::from(code >> 6));
            let bound = |sample: i32| sample.clamp(-16_384, 16_383);
            let r_low = bound(state.low.s + state.low.difference(QM6[low]));
            let r_high = bound(state.high.s + state.high.difference(QM2[high]));
            state.adapt(low, high);
            let (even, odd) = state.filter(r_low + r_high, r_low - r_high);
            pair[0] = saturate(odd >> 11) as i16;
            pair[1] = saturate(even >> 11) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
        bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// Noise that swells three times and then stays low.
    fn swelling_noise() -> Vec<i16> {
        let mut state = 1u64;
        let noise = (0..3200).map(|at: i32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let amplitude = if at < 2400 { at % 800 * 32 } else { 200 };
            let sample = ((state >> 33) & 0xffff) as i32 - 32_768;
            (sample * amplitude).div_euclid(32_768) as i16
        });
        noise.collect()
    }

    #[test]
    fn codes_and_samples_are_those_of_another_implementation() {
        // Hashes of what libg722 (of the Sippy project) makes of the same samples.
        let samples = swelling_noise();
        let mut codes = vec![0; samples.len() / 2];
        Encoder::new().encode(&samples, &mut codes);
        assert_eq!(fnv(codes.iter().copied()), 0x2aaa_2061_ab08_f33a);
        let mut back = vec![0; samples.len()];
        Decoder::new().decode(&codes, &mut back);
        assert_eq!(
            fnv(back.iter().flat_map(|sample| sample.to_le_bytes())),
            0x7859_43a5_fa29_9ede
        );
    }

    #[test]
    fn silence_stays_silent() {
        let mut codes = [0; 800];
        Encoder::new().encode(&[0; 1600], &mut codes);
        let mut back = [99; 1600];
        Decoder::new().decode(&codes, &mut back);
        assert!(
            back.iter().all(|sample| sample.abs() <= 8),
            "{:?}",
            back.iter().max()
        );
    }

    #[test]
    fn any_codes_are_decoded() {
        let mut state = 7u32;
        let codes: Vec<u8> = (0..50_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let mut back = vec![0; codes.len() * 2];
        Decoder::new().decode(&codes, &mut back);
        Encoder::new().encode(&[i16::MIN; 3200], &mut [0; 1600]);
    }
}
