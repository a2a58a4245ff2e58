"""The pure core of Stargate: state machines over bytes and events, without any I/O."""
