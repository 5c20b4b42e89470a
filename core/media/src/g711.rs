//! G.711 mu-law and A-law by tables that the compiler fills. Codecs other than A-law count as mu-law here.

use cordboard_model::media::Codec;

/// Codes of 20 ms.
pub(crate) const FRAME: usize = 160;

/// Entries of an encoder's table: 16-bit samples without their two lowest bits, which no level of either
/// law uses.
const ENTRIES: usize = 1 << 14;

static MU_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mu_law_level(code as u8);
        code += 1;
    }
    table
};

static A_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = a_law_level(code as u8);
        code += 1;
    }
    table
};

static MU_ENCODE: [u8; ENTRIES] = {
    let mut table = [0; ENTRIES];
    let mut entry = 0;
    while entry < ENTRIES {
        table[entry] = mu_law_code(entry_middle(entry));
        entry += 1;
    }
    table
};

static A_ENCODE: [u8; ENTRIES] = {
    let mut table = [0; ENTRIES];
    let mut entry = 0;
    while entry < ENTRIES {
        table[entry] = a_law_code(entry_middle(entry));
        entry += 1;
    }
    table
};

static MU_SILENCE: [u8; FRAME] = [0xff; FRAME];
static A_SILENCE: [u8; FRAME] = [0xd5; FRAME];

/// The 16-bit sample in the middle of the four that share an entry.
const fn entry_middle(entry: usize) -> i32 {
    (((entry << 2) as u16) as i16) as i32 + 2
}

const fn mu_law_level(code: u8) -> i16 {
    let code = !code;
    let magnitude = ((((code & 0x0f) as i16) << 3) + 0x84) << ((code >> 4) & 7);
    if code & 0x80 != 0 {
        0x84 - magnitude
    } else {
        magnitude - 0x84
    }
}

const fn mu_law_code(sample: i32) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (if sample < 0 { -sample } else { sample }) + 0x84;
    let magnitude = if magnitude > 0x7fff { 0x7fff } else { magnitude };
    let segment = 24 - magnitude.leading_zeros();
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment as u8) << 4 | step as u8)
}

const fn a_law_level(code: u8) -> i16 {
    let code = code ^ 0x55;
    let segment = (code >> 4) & 7;
    let step = ((code & 0x0f) as i16) << 4;
    let magnitude = if segment == 0 {
        step + 8
    } else {
        (step + 0x108) << (segment - 1)
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

const fn a_law_code(sample: i32) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = if sample < 0 { -sample } else { sample };
    let magnitude = if magnitude > 0x7fff { 0x7fff } else { magnitude };
    let code = if magnitude < 0x100 {
        magnitude >> 4
    } else {
        let segment = 24 - magnitude.leading_zeros();
        ((segment as i32) << 4) | ((magnitude >> (segment + 3)) & 0x0f)
    };
    (sign | code as u8) ^ 0x55
}

/// Turns codes into samples; the shorter of the two decides how many.
pub(crate) fn decode(codec: Codec, codes: &[u8], samples: &mut [i16]) {
    let table = if codec == Codec::Pcma {
        &A_DECODE
    } else {
        &MU_DECODE
    };
    for (sample, code) in samples.iter_mut().zip(codes) {
        *sample = table[usize::from(*code)];
    }
}

/// Turns a frame of samples into codes.
pub(crate) fn encode(codec: Codec, samples: &[i16], codes: &mut [u8; FRAME]) {
    let table = if codec == Codec::Pcma {
        &A_ENCODE
    } else {
        &MU_ENCODE
    };
    for (code, sample) in codes.iter_mut().zip(samples) {
        *code = table[usize::from(*sample as u16 >> 2)];
    }
}

/// A frame of silence.
pub(crate) fn silence(codec: Codec) -> &'static [u8; FRAME] {
    if codec == Codec::Pcma {
        &A_SILENCE
    } else {
        &MU_SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_codes_of_the_recommendation() {
        // G.711 tables 1a and 2a: extremes, zero and the first steps, in 16-bit samples.
        for (code, sample) in [
            (0x80, 32_124),
            (0x00, -32_124),
            (0xff, 0),
            (0x7f, 0),
            (0xfe, 8),
            (0xef, 132),
        ] {
            assert_eq!(mu_law_level(code), sample, "{code:#x}");
        }
        for (code, sample) in [
            (0xaa, 32_256),
            (0x2a, -32_256),
            (0xd5, 8),
            (0x55, -8),
            (0xc5, 264),
        ] {
            assert_eq!(a_law_level(code), sample, "{code:#x}");
        }
    }

    #[test]
    fn no_sample_moves_by_more_than_half_a_step() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            for sample in (-32_000..=32_000i16).step_by(7) {
                let (mut codes, mut back) = ([0; FRAME], [0; FRAME]);
                encode(codec, &[sample; FRAME], &mut codes);
                decode(codec, &codes, &mut back);
                let (off, sample) = ((i32::from(back[0]) - i32::from(sample)).abs(), i32::from(sample));
                // Steps double with each segment: half a step is a 32nd of the segment's lower end.
                assert!(
                    off <= (sample.abs() + 132) / 32 + 8,
                    "{codec:?} {sample}: {}",
                    back[0]
                );
            }
        }
    }

    #[test]
    fn a_level_survives_decoding_and_encoding() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            for code in 0..=255u8 {
                let mut samples = [0; FRAME];
                decode(codec, &[code; FRAME], &mut samples);
                let mut codes = [0; FRAME];
                encode(codec, &samples, &mut codes);
                // Mu-law has two codes for zero.
                assert!(
                    codes[0] == code || samples[0] == 0,
                    "{codec:?} {code:#x} {:#x}",
                    codes[0]
                );
            }
        }
    }

    #[test]
    fn silence_is_silent() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let mut samples = [99; FRAME];
            decode(codec, silence(codec), &mut samples);
            assert!(samples.iter().all(|sample| sample.abs() <= 8));
        }
    }
}
