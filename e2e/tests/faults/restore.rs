//! Backups that are older than what the other side knows.
