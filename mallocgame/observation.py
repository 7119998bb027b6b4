"""stub"""
import numpy as np, jax.numpy as jnp
def stop_features(t): return np.zeros((len(t.events),1),np.float32)
def observation_size(game): return 4
def observe(game,state): return jnp.zeros((*state.slot.shape,4))
