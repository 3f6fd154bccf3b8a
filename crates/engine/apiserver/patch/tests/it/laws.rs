//! Laws of apply on generated objects.
