//! Tables for messages.
