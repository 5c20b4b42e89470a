//! The text of a page (HTML) as its reader would see it: lines where the page has lines, and nothing else of its tags.

use super::text::western;

/// Elements that stand on lines of their own.
const BLOCKS: &str = "address article aside blockquote body center dd div dl dt figcaption figure footer form \
                      h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table tr ul";
/// Elements whose contents nobody reads.
const UNREAD: [&str; 3] = ["script", "style", "title"];
/// The longest character reference that is looked for, in bytes.
const REFERENCE: usize = 12;

/// The names of the characters from U+00A0 on.
const LATIN: [&str; 96] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf", "laquo",
    "not", "shy", "reg", "macr", "deg", "plusmn", "sup2", "sup3", "acute", "micro", "para", "middot",
    "cedil", "sup1", "ordm", "raquo", "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc",
    "Atilde", "Auml", "Aring", "AElig", "Ccedil", "Egrave", "Eacute", "Ecirc", "Euml", "Igrave", "Iacute",
    "Icirc", "Iuml", "ETH", "Ntilde", "Ograve", "Oacute", "Ocirc", "Otilde", "Ouml", "times", "Oslash",
    "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute", "THORN", "szlig", "agrave", "aacute", "acirc", "atilde",
    "auml", "aring", "aelig", "ccedil", "egrave", "eacute", "ecirc", "euml", "igrave", "iacute", "icirc",
    "iuml", "eth", "ntilde", "ograve", "oacute", "ocirc", "otilde", "ouml", "divide", "oslash", "ugrave",
    "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];
/// Other characters that have names.
const NAMED: [(&str, char); 18] = [
    ("lt", '<'),
    ("gt", '>'),
    ("amp", '&'),
    ("quot", '"'),
    ("apos", '\''),
    ("euro", '€'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("sbquo", '‚'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("bdquo", '„'),
    ("hellip", '…'),
    ("bull", '•'),
    ("trade", '™'),
    ("hearts", '♥'),
];

/// The text of a page: its tags taken out, its characters put back.
pub(super) fn plain(html: &str) -> String {
    let mut text = Text::default();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        text.push(&rest[..at]);
        rest = &rest[at..];
        rest = if rest.starts_with('&') {
            reference(rest, &mut text)
        } else {
            markup(rest, &mut text)
        };
    }
    text.push(rest);
    text.0.trim().to_owned()
}

/// What has been read.
#[derive(Default)]
struct Text(String);

impl Text {
    fn push(&mut self, piece: &str) {
        // How a page is indented says nothing.
        let piece = match self.0.as_bytes().last() {
            None | Some(b'\n') => piece.trim_start_matches([' ', '\t', '\r', '\n']),
            Some(_) => piece,
        };
        self.0.push_str(piece);
    }

    /// What follows stands on a new line.
    fn line(&mut self) {
        let kept = self.0.trim_end_matches([' ', '\t', '\r']).len();
        self.0.truncate(kept);
        if !self.0.is_empty() && !self.0.ends_with('\n') {
            self.0.push('\n');
        }
    }

    fn tag(&mut self, name: &str, opens: bool) {
        match name {
            "br" => self.0.push('\n'),
            "td" | "th" if opens && !self.0.is_empty() && !self.0.ends_with(char::is_whitespace) => {
                self.0.push(' ');
            }
            block if BLOCKS.split(' ').any(|known| known == block) => self.line(),
            _ => {}
        }
    }
}

/// Reads on behind what begins with `<`: a tag, a comment, an element that nobody reads; or the character itself.
fn markup<'a>(rest: &'a str, text: &mut Text) -> &'a str {
    let after = &rest[1..];
    if after.starts_with("!--") {
        // From the first dash on: `<!-->` is a whole comment.
        return behind(&rest[2..], "-->");
    }
    let name = after.strip_prefix('/').unwrap_or(after);
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        if after.starts_with(['!', '?']) || after.starts_with("/>") {
            return behind(after, ">");
        }
        text.push("<");
        return after;
    }
    let end = name
        .find(|next: char| !next.is_ascii_alphanumeric())
        .unwrap_or(name.len());
    let opens = name.len() == after.len();
    let rest = behind_tag(&name[end..]);
    let name = name[..end].to_ascii_lowercase();
    if opens && UNREAD.contains(&name.as_str()) {
        return behind_element(rest, &name);
    }
    text.tag(&name, opens);
    rest
}

fn behind<'a>(rest: &'a str, end: &str) -> &'a str {
    rest.split_once(end).map_or("", |(_, rest)| rest)
}

/// What follows the end of a tag; a `>` in a quoted value is none.
fn behind_tag(rest: &str) -> &str {
    let (mut quote, mut value) = (None, false);
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, b'>') => return &rest[at + 1..],
            (None, b'"' | b'\'') if value => quote = Some(byte),
            (None, _) => {}
        }
        value = byte == b'=' || value && byte.is_ascii_whitespace();
    }
    ""
}

/// What follows the end of an element that holds no other elements.
fn behind_element<'a>(rest: &'a str, name: &str) -> &'a str {
    let ends = |at: &usize| {
        let tag = rest.as_bytes().get(at + 2..at + 2 + name.len());
        let next = rest.as_bytes().get(at + 2 + name.len());
        tag.is_some_and(|tag| tag.eq_ignore_ascii_case(name.as_bytes()))
            && next.is_none_or(|next| !next.is_ascii_alphanumeric())
    };
    let mut tags = rest.match_indices("</").map(|(at, _)| at);
    tags.find(ends)
        .map_or("", |at| behind_tag(&rest[at + 2 + name.len()..]))
}

/// Reads on behind what begins with `&`: a character by its name or number, or the `&` itself.
fn reference<'a>(rest: &'a str, text: &mut Text) -> &'a str {
    let named = rest.bytes().take(REFERENCE).position(|byte| byte == b';');
    let found = named.and_then(|end| Some((character(&rest[1..end])?, end)));
    let Some((character, end)) = found else {
        text.push("&");
        return &rest[1..];
    };
    text.0.push(character);
    &rest[end + 1..]
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let hexadecimal = number.strip_prefix(['x', 'X']);
        let (digits, base) = hexadecimal.map_or((number, 10), |digits| (digits, 16));
        if !digits.starts_with(|digit: char| digit.is_digit(base)) {
            return None;
        }
        let number = u32::from_str_radix(digits, base).ok()?;
        return Some(match u8::try_from(number) {
            Ok(0) => char::REPLACEMENT_CHARACTER,
            Ok(0xa0) => ' ',
            Ok(byte) => western(byte),
            Err(_) => char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER),
        });
    }
    if name == "nbsp" {
        return Some(' ');
    }
    let latin = (0xa0..=0xff_u8).zip(LATIN).find(|(_, known)| *known == name);
    let named = NAMED.iter().find(|(known, _)| *known == name);
    latin
        .map(|(code, _)| char::from(code))
        .or(named.map(|(_, character)| *character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_its_text() {
        for (html, text) in [
            ("<p>Hi <b>Bob</b>!</p>", "Hi Bob!"),
            ("unfinished <b", "unfinished"),
            ("none", "none"),
            ("two\nlines", "two\nlines"),
            (
                "<!DOCTYPE html><html><head><title>T</title></head><body>x</body></html>",
                "x",
            ),
            ("<?xml version='1.0'?>x</>y", "xy"),
        ] {
            assert_eq!(plain(html), text, "{html}");
        }
    }

    #[test]
    fn lines_of_a_page_are_lines() {
        for (html, text) in [
            ("line one<br>line two", "line one\nline two"),
            ("a<BR/>b<br />c", "a\nb\nc"),
            ("<p>a</p><p>b</p>", "a\nb"),
            ("a<div>b</div>c", "a\nb\nc"),
            (
                "<div>a</div><div><br></div><div>b<br></div><div>c</div>",
                "a\n\nb\nc",
            ),
            ("<ul>\n  <li>one</li>\n  <li>two </li>\n</ul>\n", "one\ntwo"),
            (
                "<table><tr><td>a</td><td>b</td></tr><tr><th>c<th>d</table>",
                "a b\nc d",
            ),
            ("<pre>x</pre>y <i>z</i> <picture>w</picture>", "x\ny z w"),
        ] {
            assert_eq!(plain(html), text, "{html}");
        }
    }

    #[test]
    fn what_only_looks_like_a_tag_is_text() {
        for (html, text) in [
            ("I <3 you all", "I <3 you all"),
            ("a < b, b <= c </3 <", "a < b, b <= c </3 <"),
            ("<!-- a > b -->x<!-->y<!--->z<!-- rest", "xyz"),
            ("<a title=\"x > y\" alt = '>' don't>b</a>", "b"),
            ("<style>p{color:red}</style>hi", "hi"),
            ("<STYLE type='a>b'>p{}</styles></Style >hi", "hi"),
            ("<script>if (a</b/.x) '<p>'</script\n>hi", "hi"),
            ("<script>", ""),
            ("<b>é<i", "é"),
        ] {
            assert_eq!(plain(html), text, "{html}");
        }
    }

    #[test]
    fn characters_are_put_back_once() {
        for (html, text) in [
            ("a &lt; b &amp;lt; c &amp;amp;", "a < b &lt; c &amp;"),
            ("&#228;&apos;&#x41;&#X42;&#39;&quot;", "ä'AB'\""),
            ("&auml;&Uuml;&szlig;&euro;&hellip;&yuml;&iexcl;", "äÜß€…ÿ¡"),
            ("a&nbsp;b&#160;c", "a b c"),
            ("&#x1F600;&#150;&#0;&#xD800;", "😀–\u{fffd}\u{fffd}"),
            (
                "&lt;b&gt; & &; &#; &#x; &#+1; &nobody; &amp",
                "<b> & &; &#; &#x; &#+1; &nobody; &amp",
            ),
            ("&ééééé;", "&ééééé;"),
        ] {
            assert_eq!(plain(html), text, "{html}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_as_html_is_read_as_it_was(text in "[a-z<>&\"' \n#;/!é]{0,40}") {
            let mut html = String::from("<p>");
            for character in text.chars() {
                match character {
                    '<' | '>' | '&' | '"' | '\'' => html.push_str(&format!("&#{};", u32::from(character))),
                    other => html.push(other),
                }
            }
            proptest::prop_assert_eq!(plain(&html), text.trim());
        }

        #[test]
        fn anything_is_read_and_grows_no_longer(pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "<", ">", "&", ";", "#", "x", "0", "128", "'", "\"", "=", "/", "!", "-", "--", "?", " ", "\n", "é",
                "br", "td", "p", "script", "</style", "<style", "amp", "nbsp", "&#", "&#x", "yuml",
            ]), 0..40)) {
            let html = pieces.concat();
            proptest::prop_assert!(plain(&html).len() <= html.len());
        }
    }
}
