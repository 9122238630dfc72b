"""The networks: aligned encoder, token decoder, video denoiser, audio codec, and the MVGen model that joins them."""
