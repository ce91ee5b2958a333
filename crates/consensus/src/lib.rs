//! The rules that a block must keep before it is executed, whichever engine its network has.
