//! Digest credentials: no panic, and nobody guesses a proof.
#![no_main]

use cordboard_engine::sip::digest::{Credentials, Ha1, NonceState, Nonces, verify};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(credentials) = Credentials::parse(&format!("Digest {text}")) {
        let _ = (credentials.username(), credentials.algorithm());
        assert!(!verify(&credentials, Ha1::Md5([7; 16]), "REGISTER"));
        assert!(!verify(&credentials, Ha1::Sha256([7; 32]), "REGISTER"));
        let state = Nonces::new([9; 32]).check(credentials.nonce, Default::default());
        assert_eq!(state, NonceState::Forged);
    }
});
