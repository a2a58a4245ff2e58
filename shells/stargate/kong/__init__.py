"""From a declarative configuration of Kong's to one of Stargate's: what `stargate import-kong` does."""
