"""The matrices between nonlinearities, with bounds on what float64 takes from them."""
