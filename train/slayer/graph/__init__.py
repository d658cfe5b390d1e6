"""Parts of tracing and lowering: the graph's types, rules of operations, the builder of a Network."""
