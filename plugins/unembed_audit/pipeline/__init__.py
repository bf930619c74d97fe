"""From a store's records to rows of an audit: sample, invert, find, compare, write down."""
