//! Tables for WebRTC descriptions.
