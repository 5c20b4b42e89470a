//! Reads a component's stamp: the interface version it was built for and what its author says of it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The custom section that holds the stamp, written by whatever built the component.
const SECTION: &str = "cordboard-plugin";

/// What every WebAssembly file begins with.
const MAGIC: [u8; 4] = *b"\0asm";
/// The bytes after that: a component, or a bare module.
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
const MODULE: [u8; 4] = [1, 0, 0, 0];

/// A component's stamp.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) api: String,
    pub(crate) version: String,
    /// The powers that it wants, each with the reason.
    #[serde(default)]
    pub(crate) wants: BTreeMap<String, String>,
}

/// Why there is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadStamp {
    #[error("it is not WebAssembly")]
    NotWasm,
    #[error("it is a bare module, not a component; build it with `cordboard plugin build`")]
    Module,
    #[error("its sections are damaged")]
    Damaged,
    #[error("it carries no stamp; build it with `cordboard plugin build`")]
    Unstamped,
    #[error("its stamp is not understood: {0}")]
    Unreadable(String),
}

/// Finds and reads the stamp.
pub(crate) fn read(component: &[u8]) -> Result<Manifest, BadStamp> {
    if component.get(..4) != Some(&MAGIC) {
        return Err(BadStamp::NotWasm);
    }
    match component.get(4..8) {
        Some(kind) if kind == COMPONENT => {}
        Some(kind) if kind == MODULE => return Err(BadStamp::Module),
        _ => return Err(BadStamp::NotWasm),
    }
    let mut rest = &component[8..];
    while !rest.is_empty() {
        let (section, body) = take_section(&mut rest).ok_or(BadStamp::Damaged)?;
        if section != 0 {
            continue;
        }
        let mut contents = body;
        let name_length = take_length(&mut contents).ok_or(BadStamp::Damaged)?;
        let (name, stamp) = contents.split_at_checked(name_length).ok_or(BadStamp::Damaged)?;
        if name == SECTION.as_bytes() {
            return serde_json::from_slice(stamp).map_err(|error| BadStamp::Unreadable(error.to_string()));
        }
    }
    Err(BadStamp::Unstamped)
}

/// Takes one section: its identifier and its body.
fn take_section<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (section, after) = rest.split_first()?;
    *rest = after;
    let length = take_length(rest)?;
    let (body, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((*section, body))
}

/// Takes an unsigned LEB128 of at most 32 bits.
fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0u64;
    for shift in (0..35).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(length).ok().map(|length| length as usize);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(json: &str) -> Vec<u8> {
        let mut bytes = [MAGIC, COMPONENT].concat();
        bytes.extend([7, 3, 1, 2, 3]);
        bytes.extend([0, (1 + SECTION.len() + json.len()) as u8, SECTION.len() as u8]);
        bytes.extend(SECTION.as_bytes());
        bytes.extend(json.as_bytes());
        bytes
    }

    #[test]
    fn the_stamp_is_found_behind_other_sections() {
        let manifest = read(&stamped(
            r#"{"api":"0.1.0","name":"x","version":"2","wants":{"log":"why"}}"#,
        ))
        .unwrap();
        assert_eq!((manifest.api.as_str(), manifest.version.as_str()), ("0.1.0", "2"));
        assert_eq!(manifest.wants["log"], "why");
    }

    #[test]
    fn what_is_no_stamped_component_is_told_apart() {
        assert_eq!(read(b"hello"), Err(BadStamp::NotWasm));
        assert_eq!(read(&[MAGIC, MODULE].concat()), Err(BadStamp::Module));
        assert_eq!(read(&[MAGIC, COMPONENT].concat()), Err(BadStamp::Unstamped));
        assert!(matches!(read(&stamped("{}")), Err(BadStamp::Unreadable(_))));
    }

    #[test]
    fn no_cut_of_a_file_is_read_past_its_end() {
        let whole = stamped(r#"{"api":"0.1.0","version":"2"}"#);
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
    }
}
