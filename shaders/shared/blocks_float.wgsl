// Blocks of floats. Rows: column r holds row r along the depth. Columns: column q holds depth q along
// the columns. So columns * rows is the product block, ready to be stored.

alias Sum = mat4x4f;

fn multiply_add(sum: mat4x4f, columns: mat4x4f, rows: mat4x4f) -> mat4x4f {
    return sum + columns * rows;
}
