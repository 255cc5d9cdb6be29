"""How an agent learns: environments, encoders, heads, replay memory, the agents and their pinned configurations."""
