//! What each byte may be part of: one look into a table instead of many comparisons.

/// May stand in a `token`.
pub(crate) const TOKEN: u8 = 1;
/// May stand unescaped in the user part or the password of a SIP URI. The hash sign should be escaped, but
/// phones that dial `#31#` do not.
pub(crate) const USER: u8 = 1 << 1;
/// May stand in a host name. The underscore is no part of one, but container names have it.
pub(crate) const HOST: u8 = 1 << 2;
/// May stand unescaped in a parameter or a header of a SIP URI. A second at sign would leave open which host is
/// meant.
pub(crate) const URI_PARAM: u8 = 1 << 3;
/// May stand in any URI.
pub(crate) const URI: u8 = 1 << 4;
/// May stand in a parameter's value that is not quoted. Wider than the grammar, which wants a token or a
/// host: phones send URNs and URIs bare. What could be taken for another parameter, another element or
/// another header stays out.
pub(crate) const VALUE: u8 = 1 << 5;
/// Linear white space once folding is undone.
pub(crate) const SPACE: u8 = 1 << 6;
/// May stand in a bare display name. Wider than words: phones send UTF-8, brackets and `@`. What separates
/// addresses and parameters must be quoted.
pub(crate) const WORDS: u8 = 1 << 7;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < classes.len() {
        classes[at] = classes_of(at as u8);
        at += 1;
    }
    classes
};

const fn classes_of(byte: u8) -> u8 {
    let alphanumeric = byte.is_ascii_alphanumeric();
    let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let visible = byte > b' ' && byte != 0x7f;
    let mut classes = 0;
    if alphanumeric
        || matches!(
            byte,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
    {
        classes |= TOKEN;
    }
    if alphanumeric
        || matches!(
            byte,
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')'
        )
        || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' | b'#')
    {
        classes |= USER;
    }
    if alphanumeric || matches!(byte, b'.' | b'-' | b'_') {
        classes |= HOST;
    }
    if byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'@' | b',' | b'\\' | b'<' | b'>' | b'"' | b'%' | b';' | b'?'
        )
    {
        classes |= URI_PARAM;
    }
    if visible && !matches!(byte, b'<' | b'>' | b'"') {
        classes |= URI;
    }
    if visible && !matches!(byte, b'"' | b',' | b';' | b'<' | b'>') {
        classes |= VALUE;
    }
    if space {
        classes |= SPACE;
    }
    if (space || byte >= b' ') && !matches!(byte, b'"' | b'\\' | b',' | b';' | b':' | b'<' | b'>' | 0x7f) {
        classes |= WORDS;
    }
    classes
}

/// Whether a byte is of a class.
#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// How many bytes at the start are of a class: four at a time as long as they are.
#[inline]
pub(crate) fn run(bytes: &[u8], class: u8) -> usize {
    let of = |byte: u8| CLASSES[usize::from(byte)];
    let (fours, _) = bytes.as_chunks::<4>();
    let mut len = 0;
    for [a, b, c, d] in fours {
        if of(*a) & of(*b) & of(*c) & of(*d) & class == 0 {
            break;
        }
        len += 4;
    }
    len + bytes[len..].iter().take_while(|byte| is(**byte, class)).count()
}

/// How many bytes at the start are white space: hardly ever more than one, so they are looked at singly.
#[inline]
pub(crate) fn spaces(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is(**byte, SPACE)).count()
}

/// Whether all bytes are of a class.
#[inline]
pub(crate) fn all(text: &str, class: u8) -> bool {
    run(text.as_bytes(), class) == text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_end_at_the_first_byte_of_no_such_class(
            bytes in proptest::collection::vec(prop_oneof![4 => b'a'..=b'z', 1 => any::<u8>()], 0..40),
            bit in 0..8,
        ) {
            let class = 1_u8 << bit;
            let plain = |class| bytes.iter().position(|byte| !is(*byte, class)).unwrap_or(bytes.len());
            prop_assert_eq!(run(&bytes, class), plain(class));
            prop_assert_eq!(spaces(&bytes), plain(SPACE));
        }
    }
}
