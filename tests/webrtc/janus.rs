//! Janus, for comparison, where it is installed (Debian: `apt-get install janus`).
