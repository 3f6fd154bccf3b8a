//! Server-side apply on built-in kinds.
