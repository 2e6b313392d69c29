"""Everything that carries out an action, and the one door through which actions leave."""
