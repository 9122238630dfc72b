"""A trained model at work: music for a video, video for music, and the latent space between them."""
