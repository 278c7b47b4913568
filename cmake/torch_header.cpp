// Carries the precompiled header of LibTorch, which every target that uses LibTorch shares.
