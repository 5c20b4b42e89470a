//! Makes a component of a core module and puts the plugin's stamp into it.

use serde::Serialize;

use crate::{BuildError, Manifest};

/// The version of the plugin interface that plugins are built against: that of `sdk/wit/v1`.
pub const API_VERSION: &str = "0.1.0";

/// The custom section of a component that holds its stamp: the API version and the manifest, as JSON.
pub const STAMP_SECTION: &str = "cordboard-plugin";

/// What the stamp holds.
#[derive(Serialize)]
struct Stamp<'a> {
    api: &'static str,
    #[serde(flatten)]
    manifest: &'a Manifest,
}

/// Encodes a component and stamps it.
pub(crate) fn encode(module: &[u8], manifest: &Manifest) -> Result<Vec<u8>, BuildError> {
    let failed = |message: String| BuildError::Encode {
        plugin: manifest.name.clone(),
        message,
    };
    let mut component = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(wit_component::ComponentEncoder::encode)
        .map_err(|error| failed(format!("{error:#}")))?;
    let stamp = serde_json::to_vec(&Stamp {
        api: API_VERSION,
        manifest,
    })
    .map_err(|error| failed(error.to_string()))?;
    append_section(&mut component, STAMP_SECTION, &stamp);
    Ok(component)
}

/// Appends a custom section: identifier 0, the length, the name with its length, the contents.
fn append_section(component: &mut Vec<u8>, name: &str, contents: &[u8]) {
    let mut body = Vec::with_capacity(contents.len() + name.len() + 5);
    write_length(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(contents);
    component.push(0);
    write_length(component, body.len());
    component.extend_from_slice(&body);
}

/// Writes a length as unsigned LEB128.
fn write_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_carries_its_lengths() {
        let mut out = Vec::new();
        append_section(&mut out, "ab", &[7; 200]);
        assert_eq!(out[..6], [0, 0xcb, 0x01, 2, b'a', b'b']);
        assert_eq!(out.len(), 3 + 3 + 200);
    }
}
