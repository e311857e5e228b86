"""How is the integral of knowledge attribution best computed? Ways to do it, compared on models that know facts."""
