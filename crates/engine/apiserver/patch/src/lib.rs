//! JSON, merge, strategic-merge and apply patches; managed fields; defaulting and pruning by schema.
