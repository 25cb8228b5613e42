"""The shaders of the label passes, and the texture that hands each instance its matrices.

A pass draws all instances of a surface with one call. What belongs to one instance lies in a few texels of a
texture of 32-bit floats; the number of the instance tells which.
"""

import gpu
import numpy as np

from ..errors import ConfigError

# Instances side by side in the texture, unless there are so many that it would be too high.
_COLUMNS = 256

_LOOK_UP = """
vec4 texel(int k) {
  int i = first + gl_InstanceID;
  int columns = textureSize(instances, 0).x / TEXELS;
  return texelFetch(instances, ivec2((i % columns) * TEXELS + k, i / columns), 0);
}
"""

# The alpha of an image, as an Image Texture node samples it: texels by hand, for the sampler's own filter and
# extension cannot be set in all versions. A fragment below the threshold is not there.
_HOLES = """
float alpha_at(ivec2 p, ivec2 size) {
  if (extension == 0) { p = ivec2(mod(vec2(p), vec2(size))); }
  else if (extension == 1) { p = clamp(p, ivec2(0), size - 1); }
  else if (any(lessThan(p, ivec2(0))) || any(greaterThanEqual(p, size))) { return 0.0; }
  vec4 color = texelFetch(image, p, 0);
  return use_color != 0 ? dot(color.rgb, vec3(0.2126, 0.7152, 0.0722)) : color.a;
}
bool is_hole() {
  ivec2 size = textureSize(image, 0);
  vec2 at = v_uv * vec2(size);
  if (is_closest != 0) { return alpha_at(ivec2(floor(at)), size) < threshold; }
  ivec2 corner = ivec2(floor(at - 0.5));
  vec2 f = fract(at - 0.5);
  float low = mix(alpha_at(corner, size), alpha_at(corner + ivec2(1, 0), size), f.x);
  float high = mix(alpha_at(corner + ivec2(0, 1), size), alpha_at(corner + ivec2(1, 1), size), f.x);
  return mix(low, high, f.y) < threshold;
}
"""


def make_shader(
    name: str,
    vertex: str,
    fragment: str,
    *,
    inputs: dict[str, str],
    varyings: dict[str, str],
    outputs: list[tuple[str, str]],
    uniforms: dict[str, str],
    texels: int,
    holes: bool,
) -> gpu.types.GPUShader:
    """Compiles a shader of a label pass.

    Args:
        name: Of the interface between its stages.
        vertex: Body of the vertex shader's main; `texel(k)` is the instance's k-th texel.
        fragment: Body of the fragment shader's main.
        inputs: Vertex attributes, name -> type.
        varyings: What goes from the vertex to the fragment shader: name -> type. Integers are not interpolated.
        outputs: Type and name of the colour attachments, in order: ("UINT", "out_id").
        uniforms: Name -> type; at most 64 bytes, for no more is sure to fit beside what every pass has.
        texels: Texels an instance.
        holes: Whether fragments where an image is transparent are left out: adds the attribute `uv`.
    """
    info = gpu.types.GPUShaderCreateInfo()
    info.define("TEXELS", str(texels))
    info.sampler(0, "FLOAT_2D", "instances")
    info.push_constant("INT", "first")
    for uniform, kind in uniforms.items():
        info.push_constant(kind, uniform)
    if holes:
        inputs, varyings = {**inputs, "uv": "VEC2"}, {**varyings, "v_uv": "VEC2"}
        info.sampler(1, "FLOAT_2D", "image")
        info.push_constant("INT", "extension")
        info.push_constant("INT", "use_color")
        info.push_constant("INT", "is_closest")
        info.push_constant("FLOAT", "threshold")
        vertex = f"v_uv = uv;\n{vertex}"
        fragment = f"if (is_hole()) {{ discard; }}\n{fragment}"
    for slot, (attribute, kind) in enumerate(inputs.items()):
        info.vertex_in(slot, kind, attribute)
    stage = gpu.types.GPUStageInterfaceInfo(f"blendtorch_{name}{'_holes' if holes else ''}")
    for varying, kind in varyings.items():
        getattr(stage, "flat" if kind == "UINT" else "smooth")(kind, varying)
    info.vertex_out(stage)
    for slot, (kind, output) in enumerate(outputs):
        info.fragment_out(slot, kind, output)
    info.vertex_source(f"{_LOOK_UP}\nvoid main() {{\n{vertex}\n}}")
    info.fragment_source(f"{_HOLES if holes else ''}\nvoid main() {{\n{fragment}\n}}")
    return gpu.shader.create_from_info(info)


def instance_texture(rows: np.ndarray) -> gpu.types.GPUTexture:
    """Puts what the instances have on the GPU.

    Args:
        rows: (N, texels, 4) float32, N >= 1.

    Raises:
        ConfigError: There are more than the GPU's largest texture holds, some 27 million.
    """
    count, texels, _ = rows.shape
    largest = gpu.capabilities.max_texture_size_get()
    columns = _COLUMNS if count <= _COLUMNS * largest else largest // texels
    height = -(-count // columns)
    if height > largest:
        raise ConfigError(f"there are {count} instances, this GPU draws at most {columns * largest} with labels.")
    padded = np.zeros((height * columns, texels, 4), np.float32)
    padded[:count] = rows
    data = gpu.types.Buffer("FLOAT", padded.size, padded.reshape(-1))
    return gpu.types.GPUTexture((columns * texels, height), format="RGBA32F", data=data)
