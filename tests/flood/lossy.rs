//! Calls through a network that loses, repeats and reorders packets.
