"""What is computed from a clip: audio tokens, frames, optical flow, semantic embeddings."""
