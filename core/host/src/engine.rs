//! How wasmtime is set up: one engine for all plugins.

use wasmtime::{Config, Engine};

/// Makes the engine.
pub(crate) fn new() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Compiling stays on its own low-priority thread and leaves the other cores to the media.
        .parallel_compilation(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false);
    Engine::new(&config)
}
