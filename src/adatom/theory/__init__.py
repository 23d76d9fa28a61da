"""Numbers from theory: vibrations by molecular dynamics and by normal modes."""
