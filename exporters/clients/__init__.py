"""Small clients that sources share: each speaks one protocol over one kept connection."""
