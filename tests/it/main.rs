//! Tests of the library that need nothing installed; `canvoy` as a process is tests/e2e.

mod tidy;
