//! Prepares a private toolchain from Debian's packages, once, outside the checkout.
//!
//! Debian's `rustc-web` family is a recent Rust made for building browsers. It has no standard library
//! for `wasm32-unknown-unknown`, but its sources come along, so the library is compiled here. The
//! packages are unpacked, not installed: installed they would replace the machine's own Rust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use crate::toolchain::{TARGET, has_std};
use crate::{Progress, ToolchainError};

/// `rustc` of the prepared toolchain: finds its libraries wherever the folder stands.
const WRAPPER: &str = "#!/bin/sh\n\
    D=$(dirname \"$(readlink -f \"$0\")\")/usr\n\
    for L in \"$D\"/lib/*-linux-gnu; do LD_LIBRARY_PATH=$L${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}; done\n\
    export LD_LIBRARY_PATH\n\
    exec \"$D/bin/rustc\" \"$@\"\n";

/// Where the toolchain stands: below `XDG_CACHE_HOME`, or below `.cache` in the home folder.
pub(crate) fn cache_folder() -> Result<PathBuf, ToolchainError> {
    let set = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .ok_or_else(|| ToolchainError::NoSource {
            why: "neither XDG_CACHE_HOME nor HOME says where one could be kept".into(),
        })?;
    Ok(cache.join("cordboard/wasm-toolchain"))
}

/// Prepares the toolchain in `folder`. Of several that try at once, one does it and the others wait.
pub(crate) fn bake(folder: &Path, progress: &Progress) -> Result<(), ToolchainError> {
    let failed = |step| {
        move |error: std::io::Error| ToolchainError::Prepare {
            step,
            detail: error.to_string(),
        }
    };
    let parent = folder.parent().expect("the cache folder has a parent");
    fs::create_dir_all(parent).map_err(failed("making the cache folder"))?;
    let _one_at_a_time = process::lock(&folder.with_extension("lock"), || {
        progress("waiting for another process that prepares the WebAssembly toolchain");
    })
    .map_err(|error| ToolchainError::Prepare {
        step: "locking the cache folder",
        detail: error.to_string(),
    })?;
    if has_std(&folder.join("rustc")) {
        return Ok(());
    }
    progress(
        "preparing a WebAssembly toolchain from Debian's packages (140 MB to fetch, a few minutes, once)",
    );
    // Whoever holds the lock is alone, so what an interrupted attempt left can go.
    let draft = folder.with_extension("draft");
    let _ = fs::remove_dir_all(&draft);
    let made = fetch(&draft, progress).and_then(|()| compile_std(&draft, progress));
    if let Err(error) = made {
        let _ = fs::remove_dir_all(&draft);
        return Err(error);
    }
    let _ = fs::remove_dir_all(folder);
    fs::rename(&draft, folder).map_err(failed("moving the toolchain into place"))?;
    progress("the WebAssembly toolchain is ready");
    Ok(())
}

/// Runs one program of a step.
fn step(step: &'static str, command: &mut Command) -> Result<String, ToolchainError> {
    let program = command.get_program().to_string_lossy().into_owned();
    process::output(command).map_err(|failure| ToolchainError::Prepare {
        step,
        detail: failure.detail(&program),
    })
}

/// The version of a package that apt would fetch.
fn candidate(package: &str) -> Option<String> {
    let policy = process::output(
        Command::new("apt-cache")
            .env("LC_ALL", "C")
            .args(["policy", package]),
    )
    .ok()?;
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// Fetches the packages and unpacks them below `draft`.
fn fetch(draft: &Path, progress: &Progress) -> Result<(), ToolchainError> {
    let packages = packages()?;
    let downloads = draft.join("debs");
    let failed = |error: std::io::Error| ToolchainError::Prepare {
        step: "unpacking",
        detail: error.to_string(),
    };
    fs::create_dir_all(&downloads).map_err(failed)?;
    progress(&format!("fetching {}", packages.join(" ")));
    // As root, apt drops its rights and then cannot write into a private cache folder.
    let sandbox = ["-o", "APT::Sandbox::User=root"];
    step(
        "fetching the packages",
        Command::new("apt-get")
            .args(["-qq"])
            .args(sandbox)
            .arg("download")
            .args(&packages)
            .current_dir(&downloads),
    )?;
    progress("unpacking");
    for entry in fs::read_dir(&downloads).map_err(failed)? {
        let package = entry.map_err(failed)?.path();
        let unpack = if package.to_string_lossy().contains("rust-web-src") {
            "dpkg-deb --fsys-tarfile \"$1\" | tar x -C \"$2\" --wildcards './usr/src/*/library'"
        } else {
            "dpkg-deb -x \"$1\" \"$2\""
        };
        step(
            "unpacking",
            Command::new("sh")
                .args(["-ec", unpack, "sh"])
                .arg(&package)
                .arg(draft),
        )?;
    }
    fs::remove_dir_all(&downloads).map_err(failed)
}

/// The packages to fetch, each with its version.
fn packages() -> Result<Vec<String>, ToolchainError> {
    let no_source = |why: &str| ToolchainError::NoSource { why: why.to_owned() };
    if candidate("rustc-web").is_none() {
        // Lists may just be absent, as in a fresh container; without the right to fetch them this fails.
        let _ = process::output(Command::new("apt-get").args(["-qq", "update"]));
    }
    let version = candidate("rustc-web").ok_or_else(|| no_source("apt knows no package rustc-web"))?;
    let release: Vec<&str> = version.split('.').take(2).collect();
    let std = format!("libstd-rust-web-{}", release.join("."));
    let depends = step(
        "asking apt",
        Command::new("apt-cache")
            .env("LC_ALL", "C")
            .args(["depends", &std]),
    )?;
    let llvm = depends
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix("Depends: ")
                .filter(|package| package.starts_with("libllvm"))
        })
        .ok_or_else(|| no_source("apt does not say which LLVM its rustc-web needs"))?
        .to_owned();
    let same = ["rustc-web", "rust-web-src", &std, "libstd-rust-web-dev"];
    Ok(same
        .iter()
        .map(|package| format!("{package}={version}"))
        .chain([llvm])
        .collect())
}

/// Compiles the standard library with the unpacked compiler and puts it where that looks for it.
fn compile_std(draft: &Path, progress: &Progress) -> Result<(), ToolchainError> {
    let failed = |error: std::io::Error| ToolchainError::Prepare {
        step: "compiling the standard library",
        detail: error.to_string(),
    };
    let rustc = draft.join("rustc");
    fs::write(&rustc, WRAPPER).map_err(failed)?;
    step(
        "making the compiler's wrapper",
        Command::new("chmod").arg("755").arg(&rustc),
    )?;
    let library = fs::read_dir(draft.join("usr/src"))
        .map_err(failed)?
        .flatten()
        .map(|entry| entry.path().join("library"))
        .find(|path| path.join("sysroot/Cargo.toml").is_file())
        .ok_or_else(|| ToolchainError::Prepare {
            step: "unpacking",
            detail: "rust-web-src holds no library/sysroot".into(),
        })?;
    let target = draft.join("target");
    let mut cargo = process::cargo();
    cargo
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--features",
            "panic-unwind,compiler-builtins-mem",
        ])
        .arg("--manifest-path")
        .arg(library.join("sysroot/Cargo.toml"))
        .current_dir(&library)
        .env("RUSTC", &rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_DEFAULT_LIB_METADATA", "baked")
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("RUSTFLAGS", "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes");
    process::watched(&mut cargo, "std", progress).map_err(|failure| ToolchainError::Prepare {
        step: "compiling the standard library",
        detail: failure.detail("cargo"),
    })?;
    let installed = draft.join("usr/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&installed).map_err(failed)?;
    for entry in fs::read_dir(target.join(TARGET).join("release/deps")).map_err(failed)? {
        let file = entry.map_err(failed)?;
        if file
            .path()
            .extension()
            .is_some_and(|extension| extension == "rlib")
        {
            fs::copy(file.path(), installed.join(file.file_name())).map_err(failed)?;
        }
    }
    fs::remove_dir_all(&target).map_err(failed)?;
    fs::remove_dir_all(draft.join("usr/src")).map_err(failed)
}
